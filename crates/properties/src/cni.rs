//! Calls of the CNI: the environment's variables, `NAME=VALUE` a line; behind an empty line standard input.
//!
//! What a call says was made before (`prevResult`) reads back as it was printed, in each version's schema: what a
//! version can't say is gone after the first printing and not after the second.

use crate::memory::Limit;
use footbridge_cni::{AddResult, Call, Request, Version};

/// A configuration is read into values of JSON three times over, of which an empty one in a list is some tens of bytes.
const CALL: Limit = Limit { base: 1 << 16, per_byte: 1024 };

/// The codes of a call that can't be read.
const CODES: [u32; 4] = [1, 4, 6, 7];

pub(crate) fn cni(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (variables, config) = text.split_once("\n\n").unwrap_or((text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let request = Request { environment, config: config.to_owned() };
    let previous = match CALL.of(text.len(), || Call::parse(&request)) {
        Err(error) => {
            assert!(CODES.contains(&error.code()), "{error}");
            assert_eq!(error.print(request.version())["code"], error.code());
            return;
        }
        Ok(Call::Add(_, config) | Call::Del(_, config) | Call::Check(_, config)) => config.prev_result,
        Ok(Call::Gc(..) | Call::Status(..) | Call::Version(_)) => None,
    };
    let Some(Ok(result)) = previous.map(|previous| AddResult::parse(&previous)) else { return };
    for version in Version::ALL {
        let printed = result.print(*version);
        match AddResult::parse(&printed) {
            Ok(again) => assert_eq!(again.print(*version), printed),
            Err(error) => panic!("{printed} does not read back: {error}"),
        }
    }
}
