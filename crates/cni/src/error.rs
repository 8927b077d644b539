//! What a plugin prints when it fails: specification section 2, "Error".

use crate::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

macro_rules! codes {
    ($( $(#[$doc:meta])* $number:literal $variant:ident; )*) => {
        /// What kind of error: below 100 the specification's codes, from 100 ours.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "u32", try_from = "u32")]
        pub enum Code { $( $(#[$doc])* $variant ),* }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[ $( Code::$variant ),* ];

            /// As `code` says it.
            pub const fn number(self) -> u32 {
                match self { $( Code::$variant => $number ),* }
            }
        }
    };
}

codes! {
    /// The configuration's version, or a command in that version.
    1 IncompatibleVersion;
    /// A field of the configuration that is not supported; the details name it and its value.
    2 UnsupportedField;
    /// The container does not exist. The runtime need not clean up.
    3 UnknownContainer;
    /// CNI_COMMAND, CNI_CONTAINERID and the like.
    4 InvalidEnvironment;
    /// Standard input can't be read, a file not be written.
    5 Io;
    /// Standard input is no JSON, or not of the right shape.
    6 Decode;
    /// The configuration has a wrong value.
    7 InvalidConfig;
    /// Not now, but soon: the agent is away or not ready.
    11 TryAgainLater;
    /// STATUS: no ADD can be served.
    50 NotAvailable;
    /// STATUS: no ADD can be served, and pods may have no network.
    51 LimitedConnectivity;
    /// The node has no address left for a pod.
    100 NoAddress;
    /// The IPAM plugin failed.
    101 Ipam;
    /// A device, an address or a route could not be made.
    102 Kernel;
    /// CHECK: what should be is not so.
    103 NotAsAdded;
    /// The agent's state on disk.
    104 State;
}

impl From<Code> for u32 {
    fn from(code: Code) -> u32 {
        code.number()
    }
}

/// No code of ours has the number.
#[derive(Debug, thiserror::Error)]
#[error("there is no error code {0}")]
pub struct UnknownCode(u32);

impl TryFrom<u32> for Code {
    type Error = UnknownCode;

    fn try_from(number: u32) -> Result<Code, UnknownCode> {
        let found = Code::ALL.iter().find(|code| code.number() == number);
        found.copied().ok_or(UnknownCode(number))
    }
}

/// An error as the runtime is told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct Error {
    code: Code,
    msg: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    details: String,
}

impl Error {
    /// An error with a message of one line.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, msg: message.into(), details: String::new() }
    }

    /// With more words.
    #[must_use]
    pub fn with_details(self, details: impl ToString) -> Error {
        Error { details: details.to_string(), ..self }
    }

    /// The code's number.
    pub fn code(&self) -> u32 {
        self.code.number()
    }

    /// The same error as another kind.
    #[must_use]
    pub fn as_code(self, code: Code) -> Error {
        Error { code, ..self }
    }

    /// As the runtime reads it.
    pub fn print(&self, version: Version) -> Value {
        let mut text = json!({"cniVersion": version.text(), "code": self.code(), "msg": self.msg});
        if !self.details.is_empty() {
            text["details"] = self.details.clone().into();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_in_the_specifications_schema() {
        let error = Error::new(Code::TryAgainLater, "not yet").with_details("the agent starts");
        let printed = error.print(Version::V1_0_0);
        let expected =
            json!({"cniVersion": "1.0.0", "code": 11, "msg": "not yet", "details": "the agent starts"});
        assert_eq!(printed, expected);
        assert_eq!(error.to_string(), "not yet: the agent starts");
    }

    #[test]
    fn codes_are_unique_and_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::try_from(code.number()).unwrap(), *code);
        }
    }
}
