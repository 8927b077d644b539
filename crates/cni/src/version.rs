//! Versions of the specification.

use crate::{Code, Command, Error};
use core::fmt;
use serde_json::{Value, json};

macro_rules! versions {
    ($( $(#[$doc:meta])* $variant:ident $text:literal; )*) => {
        /// A version of the specification that is spoken here, older ones first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Version { $( $(#[$doc])* $variant ),* }

        impl Version {
            /// All of them.
            pub const ALL: &[Version] = &[ $( Version::$variant ),* ];

            /// As `cniVersion` says it.
            pub const fn text(self) -> &'static str {
                match self { $( Version::$variant => $text ),* }
            }
        }
    };
}

versions! {
    /// Results have interfaces and addresses as lists.
    V0_3_0 "0.3.0";
    /// The same.
    V0_3_1 "0.3.1";
    /// CHECK.
    V0_4_0 "0.4.0";
    /// An address says no more whether it is IPv4 or IPv6.
    V1_0_0 "1.0.0";
    /// STATUS and GC; interfaces and routes say more.
    V1_1_0 "1.1.0";
}

impl Version {
    /// What is spoken to one whose version is not known.
    pub const NEWEST: Version = Version::V1_1_0;

    /// The version of that name.
    ///
    /// # Errors
    /// Code 1: it is not spoken here.
    pub fn parse(text: &str) -> Result<Version, Error> {
        let found = Version::ALL.iter().find(|version| version.text() == text);
        found.copied().ok_or_else(|| {
            Error::new(Code::IncompatibleVersion, format!("CNI version '{text}' is not supported"))
                .with_details(format!("supported are {}", Version::names()))
        })
    }

    /// Whether there is the command in this version.
    ///
    /// # Errors
    /// Code 1: the configuration's version is older than the command.
    pub fn allow(self, command: Command) -> Result<(), Error> {
        let since = match command {
            Command::Add | Command::Del | Command::Version => Version::V0_3_0,
            Command::Check => Version::V0_4_0,
            Command::Status | Command::Gc => Version::V1_1_0,
        };
        if self >= since {
            return Ok(());
        }
        let message = format!("there is no {command} in CNI version {self}, which the configuration has");
        Err(Error::new(Code::IncompatibleVersion, message)
            .with_details(format!("{command} came with {since}")))
    }

    /// What VERSION prints, for a configuration that asks in version `asked`, spoken here or not.
    pub fn print_all(asked: &str) -> Value {
        let spoken: Vec<&str> = Version::ALL.iter().map(|version| version.text()).collect();
        json!({"cniVersion": asked, "supportedVersions": spoken})
    }

    fn names() -> String {
        Version::ALL.iter().map(|version| version.text()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_refused_below_the_version_it_came_with() {
        let refused = |version: Version, command| version.allow(command).is_err_and(|e| e.code() == 1);
        assert!(refused(Version::V0_3_1, Command::Check));
        assert!(!refused(Version::V0_4_0, Command::Check));
        assert!(refused(Version::V1_0_0, Command::Gc));
        assert!(refused(Version::V1_0_0, Command::Status));
        assert!(!refused(Version::V1_1_0, Command::Status));
        assert!(Version::ALL.iter().all(|version| !refused(*version, Command::Del)));
    }

    #[test]
    fn versions_that_are_not_spoken_are_refused_by_name() {
        for text in ["0.2.0", "0.1.0", "1.2.0", "", "1.1"] {
            let error = Version::parse(text).unwrap_err();
            assert_eq!(error.code(), 1);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
