//! Filters of flows, as `ovs-ofctl dump-flows` takes them.

use crate::memory::Limit;
use crate::text;
use footbridge_switch::FlowFilter;

const FILTER: Limit = Limit { base: 32 << 10, per_byte: 64 };

/// A filter. What is read, written in its words and read again is the same.
pub(crate) fn filter(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let names = text::names();
    let filter = match FILTER.of(text.len(), || FlowFilter::parse(text, &names)) {
        Ok(filter) => filter,
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() < 1000 + text.len(), "{} bytes of an error: {said}", said.len());
            return;
        }
    };
    let mut words = vec![filter.matching.display(&names).to_string()];
    words.extend(filter.table.map(|table| format!("table={table}")));
    words.extend(filter.out_port.map(|port| format!("out_port={}", port.0)));
    if filter.cookie_mask != 0 || filter.cookie != 0 {
        words.push(format!("cookie={:#x}/{:#x}", filter.cookie, filter.cookie_mask));
    }
    let words = words.join(",");
    let again = FlowFilter::parse(&words, &names);
    assert!(again.as_ref() == Ok(&filter), "{filter:?} is\n{words}\nwhich is read as\n{again:?}");
}
