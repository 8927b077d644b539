//! A runtime's call: specification section 2, "Parameters" and "Operations".

use crate::attachment::is_identifier;
use crate::config::{object, version_of};
use crate::{Attachment, Code, ContainerId, Error, InterfaceName, NetworkConfig, PodName, Version};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The longest configuration that is read, in bytes. With `prevResult` and ten thousand valid attachments one has
/// about a megabyte.
pub const MAX_CONFIG: usize = 4 << 20;

/// A call as the plugin got it, word for word. The agent reads it again: it takes nobody's reading for its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Request {
    /// The environment's variables that begin with `CNI_`.
    pub environment: BTreeMap<String, String>,
    /// Standard input.
    pub config: String,
}

macro_rules! commands {
    ($( $(#[$doc:meta])* $variant:ident $text:literal; )*) => {
        /// What CNI_COMMAND says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Command { $( $(#[$doc])* $variant ),* }

        impl Command {
            /// All of them.
            pub const ALL: &[Command] = &[ $( Command::$variant ),* ];

            const fn text(self) -> &'static str {
                match self { $( Command::$variant => $text ),* }
            }
        }
    };
}

commands! {
    /// Attach a container.
    Add "ADD";
    /// Detach it.
    Del "DEL";
    /// See whether it is attached as ADD said.
    Check "CHECK";
    /// Say whether ADD can be served.
    Status "STATUS";
    /// Forget attachments that are none any more.
    Gc "GC";
    /// Say which versions are spoken.
    Version "VERSION";
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Attach a container.
    Add(Target, NetworkConfig),
    /// Detach it. It may be gone.
    Del(Target, NetworkConfig),
    /// Compare it with `prevResult`.
    Check(Target, NetworkConfig),
    /// Forget all attachments but these.
    Gc(Vec<Attachment>, NetworkConfig, Environment),
    /// Say whether ADD can be served.
    Status(NetworkConfig, Environment),
    /// Say which versions are spoken, in the version of the configuration.
    Version(String),
}

/// The container's side of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which attachment.
    pub attachment: Attachment,
    /// CNI_NETNS; there for ADD and CHECK, and DEL may do without.
    pub netns: Option<PathBuf>,
    /// Whose container it is.
    pub pod: PodName,
    /// For plugins that are called in turn.
    pub environment: Environment,
}

/// What of the environment is handed on to a plugin that is called in turn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// CNI_PATH: where plugins are.
    pub search_path: Vec<PathBuf>,
    /// CNI_ARGS
    pub arguments: String,
}

impl Command {
    /// The command of a call.
    ///
    /// # Errors
    /// Code 4: there is none, or another.
    pub fn of(request: &Request) -> Result<Command, Error> {
        let text = variable(request, "CNI_COMMAND")?;
        let found = Command::ALL.iter().find(|command| command.text() == text);
        found.copied().ok_or_else(|| invalid("CNI_COMMAND", format!("there is no command '{text}'")))
    }
}

impl Call {
    /// Read a call.
    ///
    /// # Errors
    /// What the specification has codes 1, 4, 6 and 7 for.
    pub fn parse(request: &Request) -> Result<Call, Error> {
        let command = Command::of(request)?;
        let config = || NetworkConfig::parse(&request.config, command);
        match command {
            Command::Add => {
                let (target, config) = (target(request)?, config()?);
                variable(request, "CNI_NETNS")?;
                Ok(Call::Add(target, config))
            }
            Command::Check => {
                let (target, config) = (target(request)?, config()?);
                variable(request, "CNI_NETNS")?;
                if config.prev_result.is_none() {
                    let message = "CHECK needs prevResult, and the network configuration has none";
                    return Err(Error::new(Code::InvalidConfig, message));
                }
                Ok(Call::Check(target, config))
            }
            Command::Del => Ok(Call::Del(target(request)?, config()?)),
            Command::Gc => {
                let config = config()?;
                let valid = config.valid_attachments.clone().ok_or_else(|| {
                    let message =
                        "GC needs cni.dev/valid-attachments, and the network configuration has none";
                    Error::new(Code::InvalidConfig, message)
                })?;
                Ok(Call::Gc(valid, config, environment(request)))
            }
            Command::Status => Ok(Call::Status(config()?, environment(request))),
            Command::Version => Ok(Call::Version(version_of(&object(&request.config)?).to_owned())),
        }
    }
}

impl Request {
    /// The version to answer in, as far as the configuration can be read.
    pub fn version(&self) -> Version {
        let raw = object(&self.config).ok();
        raw.and_then(|raw| Version::parse(version_of(&raw)).ok()).unwrap_or(Version::NEWEST)
    }
}

fn target(request: &Request) -> Result<Target, Error> {
    let container = ContainerId::try_from(variable(request, "CNI_CONTAINERID")?.to_owned())?;
    let ifname = InterfaceName::try_from(variable(request, "CNI_IFNAME")?.to_owned())?;
    let netns = request.environment.get("CNI_NETNS").filter(|netns| !netns.is_empty()).map(PathBuf::from);
    let environment = environment(request);
    let pod = pod(&environment.arguments, &container)?;
    Ok(Target { attachment: Attachment { container, ifname }, netns, pod, environment })
}

fn environment(request: &Request) -> Environment {
    let get = |name| request.environment.get(name).cloned().unwrap_or_default();
    let directories = get("CNI_PATH");
    let search_path = directories.split(':').filter(|d| !d.is_empty()).map(PathBuf::from).collect();
    Environment { search_path, arguments: get("CNI_ARGS") }
}

/// CNI_ARGS: `KEY=VALUE` with `;` between. Keys of others are theirs.
fn pod(arguments: &str, container: &ContainerId) -> Result<PodName, Error> {
    let mut pod = PodName { namespace: String::new(), name: container.to_string() };
    for argument in arguments.split(';').filter(|argument| !argument.is_empty()) {
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| invalid("CNI_ARGS", format!("'{argument}' is not KEY=VALUE")))?;
        let place = match key {
            "K8S_POD_NAME" => &mut pod.name,
            "K8S_POD_NAMESPACE" => &mut pod.namespace,
            _ => continue,
        };
        if !is_identifier(value) {
            return Err(invalid("CNI_ARGS", format!("'{value}' is no {key}")));
        }
        *place = value.to_owned();
    }
    Ok(pod)
}

fn variable<'a>(request: &'a Request, name: &str) -> Result<&'a str, Error> {
    let value = request.environment.get(name).filter(|value| !value.is_empty());
    value.map(String::as_str).ok_or_else(|| invalid(name, "it is not set"))
}

fn invalid(name: &str, why: impl ToString) -> Error {
    Error::new(Code::InvalidEnvironment, format!("{name} is not as it should be")).with_details(why)
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests;
