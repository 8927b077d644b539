//! Names of tables: given, or those of our own nodes where a dump has no other tables than theirs.
//!
//! A switch may tell names for its tables (OpenFlow 1.3, table features), and people write them into
//! dumps: `table=ARPSpoofGuard`, `goto_table:Classifier`. Numbers are put in their place before a line is read.

use footbridge_node::tables::TableId;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The names of a bridge's tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableNames(BTreeMap<u8, String>);

/// Why a list of tables, or a name in a dump, can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TablesError {
    /// A line of the list is neither `NUMBER NAME` nor what ovs-ofctl prints.
    #[error(
        "line {line}: expected 'NUMBER NAME' or what `ovs-ofctl dump-table-features` prints, found '{found}'"
    )]
    NotATable {
        /// From 1.
        line: usize,
        /// The line.
        found: String,
    },
    /// Nobody said which table has the name.
    #[error(
        "table '{0}' is named and has no number here: give --tables, a file of lines NUMBER NAME or what \
         `ovs-ofctl dump-table-features` prints"
    )]
    Unknown(String),
}

impl TableNames {
    /// The names that our nodes have for their tables.
    pub(crate) fn of_a_node() -> TableNames {
        TableNames(TableId::ALL.iter().map(|id| (id.number(), id.name().to_owned())).collect())
    }

    /// Whether our nodes have all of these tables.
    pub(crate) fn are_of_a_node(mut tables: impl Iterator<Item = u8>) -> bool {
        tables.all(|table| TableId::ALL.iter().any(|id| id.number() == table))
    }

    /// Read a list: lines `NUMBER NAME`, or `table 0 ("classifier"):` among others.
    ///
    /// # Errors
    /// A line that is neither.
    pub(crate) fn parse(text: &str) -> Result<TableNames, TablesError> {
        let described = |line: &str| {
            let (number, rest) = line.trim().strip_prefix("table ")?.split_once(' ')?;
            let name = rest.trim().strip_prefix("(\"")?.split_once('"')?.0;
            Some((number.parse().ok()?, name.to_owned()))
        };
        let all: BTreeMap<u8, String> = text.lines().filter_map(described).collect();
        if !all.is_empty() {
            return Ok(TableNames(all));
        }
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let pairs = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let read = pairs.map(|(line, text)| {
            let pair = text.split_once(char::is_whitespace);
            let pair = pair.and_then(|(number, name)| Some((number.parse().ok()?, name.trim().to_owned())));
            pair.ok_or_else(|| TablesError::NotATable { line, found: text.to_owned() })
        });
        Ok(TableNames(read.collect::<Result<_, _>>()?))
    }

    /// A table's name.
    pub(crate) fn name(&self, table: u8) -> Option<&str> {
        self.0.get(&table).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u8> {
        self.0.iter().find(|(_, of)| *of == name).map(|(number, _)| *number)
    }

    /// A text of many lines with numbers in place of tables' names.
    ///
    /// # Errors
    /// A name that nobody gave a number.
    pub(crate) fn numbered_text(&self, text: &str) -> Result<String, TablesError> {
        text.lines().map(|line| Ok(self.numbered(line)?.into_owned() + "\n")).collect()
    }

    /// The line with numbers in place of tables' names.
    ///
    /// # Errors
    /// A name that nobody gave a number.
    pub(crate) fn numbered<'a>(&self, line: &'a str) -> Result<Cow<'a, str>, TablesError> {
        let mut numbered = Cow::Borrowed(line);
        for (before, skip) in [("table=", 0), ("goto_table:", 0), ("resubmit(", 1)] {
            let mut from = 0;
            while let Some(at) = numbered.get(from..).and_then(|rest| rest.find(before)) {
                from += at + before.len();
                // The table of a resubmit stands behind a comma.
                let start = match skip {
                    0 => from,
                    _ => match numbered[from..].find([',', ')']) {
                        Some(comma) if numbered[from + comma..].starts_with(',') => from + comma + 1,
                        _ => continue,
                    },
                };
                let end = numbered[start..].find([',', ')', ' ']).map_or(numbered.len(), |end| start + end);
                let name = numbered[start..end].trim_matches('"').to_owned();
                if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    let number = self.number(&name).ok_or(TablesError::Unknown(name))?;
                    numbered.to_mut().replace_range(start..end, &number.to_string());
                }
            }
        }
        Ok(numbered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> TableNames {
        TableNames::parse("0 Classifier\n\n# more\n3 ARPSpoofGuard\n").unwrap()
    }

    #[test]
    fn names_become_numbers_wherever_a_table_stands() {
        let line = "table=ARPSpoofGuard,ip actions=resubmit(,Classifier),resubmit(1,\"ARPSpoofGuard\",ct),\
                    ct(table=Classifier,zone=1),goto_table:ARPSpoofGuard";
        let numbered = "table=3,ip actions=resubmit(,0),resubmit(1,3,ct),ct(table=0,zone=1),goto_table:3";
        assert_eq!(names().numbered(line).unwrap(), numbered);
        assert_eq!(names().numbered(numbered).unwrap(), numbered);
    }

    #[test]
    fn an_unknown_name_is_asked_for() {
        let error = names().numbered("table=Output actions=drop").unwrap_err();
        assert_eq!(error, TablesError::Unknown("Output".to_owned()));
    }

    #[test]
    fn what_ovs_ofctl_prints_is_a_list() {
        let text = "OFPST_TABLE_FEATURES reply (OF1.3) (xid=0x2):\n  table 0 (\"classifier\"):\n    metadata: \
                    match=0xff write=0xff\n  table 1 (\"guard\"): ditto\n";
        let names = TableNames::parse(text).unwrap();
        assert_eq!((names.name(0), names.name(1), names.name(2)), (Some("classifier"), Some("guard"), None));
    }

    #[test]
    fn a_line_that_is_no_table_is_named() {
        let error = TableNames::parse("0 a\nb 1\n").unwrap_err();
        assert_eq!(error, TablesError::NotATable { line: 2, found: "b 1".to_owned() });
    }
}
