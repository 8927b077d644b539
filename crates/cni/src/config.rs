//! A network's configuration, as the runtime hands it to the plugin: specification section 1, "Plugin
//! configuration objects", and "Execution configuration" of section 3.

use crate::attachment::is_identifier;
use crate::{Attachment, Code, Command, Dns, Error, Version};
use footbridge_openflow::MacAddr;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A configuration that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// `cniVersion`
    pub version: Version,
    /// `name`
    pub name: String,
    /// `runDir`: where the agent's socket is.
    pub run_dir: Option<PathBuf>,
    /// `stateDir`: where the agent keeps what outlives it.
    pub state_dir: Option<PathBuf>,
    /// `ipam`, where it names a plugin.
    pub ipam: Option<Ipam>,
    /// The container's MAC address that is asked for: `runtimeConfig.mac` (the capability `mac`), else
    /// `args.cni.mac`.
    pub mac: Option<MacAddr>,
    /// `dns`, which goes to the result.
    pub dns: Dns,
    /// `prevResult`, as it is.
    pub prev_result: Option<Value>,
    /// `cni.dev/valid-attachments`
    pub valid_attachments: Option<Vec<Attachment>>,
    /// All of it, to be handed on.
    pub raw: Map<String, Value>,
}

/// The plugin that addresses come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Ipam {
    /// `ipam.type`: the program's name.
    pub plugin: String,
    /// `ipam`, all of it.
    pub raw: Map<String, Value>,
}

/// The keys that matter here.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    plugin: String,
    #[serde(default, rename = "runDir")]
    run_dir: Option<PathBuf>,
    #[serde(default, rename = "stateDir")]
    state_dir: Option<PathBuf>,
    #[serde(default)]
    ipam: Option<Map<String, Value>>,
    #[serde(default)]
    dns: Dns,
    #[serde(default, rename = "runtimeConfig")]
    runtime: Option<Mac>,
    #[serde(default)]
    args: Option<Args>,
    #[serde(default, rename = "prevResult")]
    prev_result: Option<Value>,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Attachment>>,
}

#[derive(Deserialize, Default)]
struct Mac {
    #[serde(default)]
    mac: Option<String>,
}

#[derive(Deserialize)]
struct Args {
    #[serde(default)]
    cni: Option<Mac>,
}

impl NetworkConfig {
    /// Read a configuration for `command`.
    ///
    /// # Errors
    /// Codes 1, 6 and 7: its version, its shape, a value.
    pub(crate) fn parse(text: &str, command: Command) -> Result<NetworkConfig, Error> {
        let raw = object(text)?;
        let version = Version::parse(version_of(&raw))?;
        version.allow(command)?;
        let keys = Keys::deserialize(Value::Object(raw.clone())).map_err(|error| {
            Error::new(Code::InvalidConfig, "the network configuration is not as it should be")
                .with_details(error)
        })?;
        let wrong = |message: String| Error::new(Code::InvalidConfig, message);
        for (key, value) in [("name", &keys.name), ("type", &keys.plugin)] {
            if !is_identifier(value) {
                return Err(wrong(format!(
                    "'{value}' is no {key}: alphanumeric characters, and behind the first '_', '.' and '-'"
                )));
            }
        }
        for (key, path) in [("runDir", &keys.run_dir), ("stateDir", &keys.state_dir)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                return Err(wrong(format!("{key} '{}' is no absolute path", path.display())));
            }
        }
        let asked = [keys.runtime, keys.args.and_then(|args| args.cni)];
        let mac =
            asked.into_iter().flatten().find_map(|asked| asked.mac).map(|mac| unicast(&mac)).transpose()?;
        Ok(NetworkConfig {
            version,
            name: keys.name,
            run_dir: keys.run_dir,
            state_dir: keys.state_dir,
            ipam: keys.ipam.map(ipam).transpose()?.flatten(),
            mac,
            dns: keys.dns,
            prev_result: keys.prev_result,
            valid_attachments: keys.valid_attachments,
            raw,
        })
    }
}

/// The text as a JSON object.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(Code::Decode, "the network configuration is no JSON object").with_details(error)
    })
}

/// `cniVersion`; one that is not said is 0.1.0.
pub(crate) fn version_of(raw: &Map<String, Value>) -> &str {
    raw.get("cniVersion").and_then(Value::as_str).unwrap_or("0.1.0")
}

fn ipam(raw: Map<String, Value>) -> Result<Option<Ipam>, Error> {
    let plugin = match raw.get("type") {
        None => return Ok(None),
        Some(plugin) => plugin.as_str().unwrap_or_default().to_owned(),
    };
    // It is looked for in directories: a path would lead out of them.
    if plugin.is_empty() || plugin.contains('/') || plugin.starts_with('.') {
        return Err(Error::new(Code::InvalidConfig, format!("ipam.type '{plugin}' is no plugin's name")));
    }
    Ok(Some(Ipam { plugin, raw }))
}

/// An address that a device can have.
fn unicast(text: &str) -> Result<MacAddr, Error> {
    let wrong = |why: &dyn ToString| {
        Error::new(Code::InvalidConfig, "mac can't be had").with_details(why.to_string())
    };
    let mac: MacAddr = text.parse().map_err(|error| wrong(&error))?;
    match mac.is_multicast() || mac == MacAddr::default() {
        true => Err(wrong(&format!("'{text}' is no unicast address"))),
        false => Ok(mac),
    }
}
