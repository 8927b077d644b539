//! What is attached: a container's interface, and the pod it is of.

use crate::{Code, Error};
use core::fmt;
use serde::{Deserialize, Serialize};

/// A container's interface in a network: the specification's "attachment".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// CNI_CONTAINERID
    #[serde(rename = "containerID")]
    pub container: ContainerId,
    /// CNI_IFNAME
    pub ifname: InterfaceName,
}

/// A container's id: alphanumeric characters, and behind the first `_`, `.` and `-`; not longer than 200.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerId(String);

/// A device's name as Linux takes it: 1 to 15 bytes, none of them `/`, `:` or white space, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InterfaceName(String);

/// A pod's namespace and name, of CNI_ARGS' `K8S_POD_NAMESPACE` and `K8S_POD_NAME`; where the runtime says none, the
/// container's id stands for the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Its namespace; empty where there is none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// File names are made of ids.
const MAX_ID: usize = 200;
/// IFNAMSIZ, less the zero byte.
const MAX_INTERFACE: usize = 15;

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<ContainerId, Error> {
        if is_identifier(&text) && text.len() <= MAX_ID {
            return Ok(ContainerId(text));
        }
        let message = format!(
            "'{text}' is no container id: alphanumeric characters, and behind the first '_', '.' and '-', at most {MAX_ID}"
        );
        Err(Error::new(Code::InvalidEnvironment, message).with_details("CNI_CONTAINERID"))
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = Error;

    fn try_from(text: String) -> Result<InterfaceName, Error> {
        let wrong = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let fits = !text.is_empty() && text.len() <= MAX_INTERFACE && text != "." && text != "..";
        if fits && !text.contains(wrong) {
            return Ok(InterfaceName(text));
        }
        let message = format!("'{text}' is no name of a network device");
        Err(Error::new(Code::InvalidEnvironment, message).with_details("CNI_IFNAME"))
    }
}

/// The specification's names: of containers, networks and plugins.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// As it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(ContainerId);
text!(InterfaceName);

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {}", self.ifname, self.container)
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}
