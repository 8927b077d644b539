//! Where pods' addresses come from: another plugin of the CNI (specification section 4, "Plugin Delegation"), or our own
//! [allocator](super::address).
//!
//! `ipam.type` names the plugin, or `footbridge`, our own. Where the configuration names none, it is `host-local` where that is installed, else
//! our own allocator; as long as pods have addresses of the one, the other is not begun with, for neither knows of the
//! other's. To `host-local` without ranges the node's pod subnet is given as its range; it spares the
//! gateway's address by itself.

use super::record::default_route;
use super::{Addressing, Network, PodAddress, Record};
use footbridge_cni::{AddResult, Attachment, Cidr, Environment, NetworkConfig, Version};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The plugin that is used where it is installed and no other is named.
const HOST_LOCAL: &str = "host-local";
/// Our own allocator, as a configuration asks for it.
const OWN: &str = "footbridge";
/// Where plugins are, besides CNI_PATH: where distributions and Kubernetes' own packages put them.
const DIRECTORIES: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];
/// What plugins are spoken to in: all since 2019 know it, and later ones have brought nothing that is needed here.
const SPOKEN: Version = Version::V0_4_0;
/// How long a plugin may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no address, or it could not be given back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub(super) enum IpamError {
    #[error("IPAM plugin {plugin} is in none of {searched}")]
    NotFound { plugin: String, searched: String },
    #[error("can't run {}: {source}", path.display())]
    Run { path: PathBuf, source: io::Error },
    #[error("{} did not end within {PATIENCE:?}", .0.display())]
    TooLong(PathBuf),
    #[error("IPAM plugin {plugin} failed at {command}: {message} (its code is {code})")]
    Failed { plugin: String, command: &'static str, code: u32, message: String },
    #[error("IPAM plugin {plugin}'s answer is of no use: {why}")]
    Answer { plugin: String, why: String },
}

/// Who is to give a new pod its address.
pub(super) fn choose(
    config: &NetworkConfig,
    environment: &Environment,
    network: &Network,
    state_dir: &Path,
    others: &[Record],
) -> Addressing {
    let (plugin, mut ipam) = match &config.ipam {
        Some(ipam) if ipam.plugin == OWN => return Addressing::Own,
        Some(ipam) => (ipam.plugin.clone(), ipam.raw.clone()),
        None => {
            let begun = others.iter().find(|other| other.network == config.name);
            let own = match begun.map(|other| &other.addressing) {
                Some(Addressing::Own) => true,
                Some(Addressing::Delegated { .. }) => false,
                None => find(HOST_LOCAL, environment).is_none(),
            };
            if own {
                return Addressing::Own;
            }
            let directory = state_dir.join(HOST_LOCAL);
            let ipam = json!({"type": HOST_LOCAL, "dataDir": directory});
            (HOST_LOCAL.to_owned(), ipam.as_object().cloned().unwrap_or_default())
        }
    };
    if plugin == HOST_LOCAL && !ipam.contains_key("ranges") && !ipam.contains_key("subnet") {
        let range = json!({"subnet": network.subnet.to_string(), "gateway": network.subnet.gateway()});
        ipam.insert("ranges".to_owned(), json!([[range]]));
    }
    let mut told = config.raw.clone();
    for key in ["prevResult", "cni.dev/valid-attachments"] {
        told.remove(key);
    }
    told.insert("cniVersion".to_owned(), json!(SPOKEN.text()));
    told.insert("ipam".to_owned(), Value::Object(ipam));
    Addressing::Delegated { plugin, config: told, environment: environment.clone() }
}

/// Ask the record's plugin for an address.
pub(super) async fn add(record: &Record, network: &Network) -> Result<Option<PodAddress>, IpamError> {
    let Some(delegate) = Delegate::of(record) else { return Ok(record.address.clone()) };
    let answer = delegate.run("ADD", Some(record), delegate.config.clone()).await?;
    let useless = |why: String| IpamError::Answer { plugin: delegate.plugin.to_owned(), why };
    let result = serde_json::from_slice(&answer).map_err(|error| useless(error.to_string()))?;
    let result = AddResult::parse(&result).map_err(|error| useless(error.to_string()))?;
    usable(result, network).map(Some).map_err(useless)
}

/// Give the record's address back. One that was never given is fine.
pub(super) async fn del(record: &Record) -> Result<(), IpamError> {
    let Some(delegate) = Delegate::of(record) else { return Ok(()) };
    delegate.run("DEL", Some(record), delegate.config.clone()).await.map(drop)
}

/// Have the record's plugin compare.
pub(super) async fn check(record: &Record) -> Result<(), IpamError> {
    let Some(delegate) = Delegate::of(record) else { return Ok(()) };
    let mut config = delegate.config.clone();
    config.insert("prevResult".to_owned(), record.printed(SPOKEN));
    delegate.run("CHECK", Some(record), config).await.map(drop)
}

/// Hand STATUS or GC on to the plugin that the configuration names, as section 4 wants it, if it knows the configuration's
/// version, and with that these commands.
pub(super) async fn pass_on(
    command: &'static str,
    config: &NetworkConfig,
    environment: &Environment,
) -> Result<(), IpamError> {
    let Some(ipam) = config.ipam.as_ref().filter(|ipam| ipam.plugin != OWN) else { return Ok(()) };
    let delegate = Delegate { plugin: &ipam.plugin, config: &config.raw, environment };
    let answer = delegate.run("VERSION", None, config.raw.clone()).await?;
    let known: Versions = serde_json::from_slice(&answer)
        .map_err(|error| IpamError::Answer { plugin: ipam.plugin.clone(), why: error.to_string() })?;
    match known.supported.iter().any(|version| version == config.version.text()) {
        true => delegate.run(command, None, config.raw.clone()).await.map(drop),
        false => Ok(()),
    }
}

/// What a plugin prints at VERSION.
#[derive(Deserialize)]
struct Versions {
    #[serde(rename = "supportedVersions")]
    supported: Vec<String>,
}

/// The address that the result has for a pod of this node.
fn usable(result: AddResult, network: &Network) -> Result<PodAddress, String> {
    let subnet = network.subnet;
    let [ip] = result.ips.as_slice() else {
        return Err(format!("a pod has one address, not {}", result.ips.len()));
    };
    let Cidr { address: IpAddr::V4(address), prefix } = ip.address else {
        return Err(format!("{} is not IPv4", ip.address));
    };
    if !subnet.contains(address)
        || [subnet.network(), subnet.gateway(), subnet.broadcast()].contains(&address)
    {
        return Err(format!("{address} is no pod's address in this node's subnet {subnet}"));
    }
    if network.taken.contains(&address) {
        return Err(format!("{address} is in use by a pod that is not the CNI's"));
    }
    let gateway = subnet.gateway();
    if ip.gateway.is_some_and(|other| other != IpAddr::V4(gateway)) {
        return Err(format!("the gateway of {subnet} is {gateway}"));
    }
    let routes = match result.routes.is_empty() {
        true => vec![default_route(gateway)],
        false => result.routes,
    };
    Ok(PodAddress { address, prefix, gateway, routes })
}

/// A plugin that is called in turn.
struct Delegate<'a> {
    plugin: &'a str,
    config: &'a Map<String, Value>,
    environment: &'a Environment,
}

/// What a plugin prints when it fails.
#[derive(Deserialize)]
struct Printed {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

impl<'a> Delegate<'a> {
    fn of(record: &'a Record) -> Option<Delegate<'a>> {
        match &record.addressing {
            Addressing::Own => None,
            Addressing::Delegated { plugin, config, environment } => {
                Some(Delegate { plugin, config, environment })
            }
        }
    }

    async fn run(
        &self,
        command: &'static str,
        record: Option<&Record>,
        config: Map<String, Value>,
    ) -> Result<Vec<u8>, IpamError> {
        let path = find(self.plugin, self.environment).ok_or_else(|| IpamError::NotFound {
            plugin: self.plugin.to_owned(),
            searched: directories(self.environment)
                .map(|d| d.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let failed = |source| IpamError::Run { path: path.clone(), source };
        let search =
            std::env::join_paths(directories(self.environment)).map_err(io::Error::other).map_err(failed)?;
        let mut program = tokio::process::Command::new(&path);
        program.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", search);
        if let Some(Record { attachment: Attachment { container, ifname }, netns, .. }) = record {
            program.env("CNI_CONTAINERID", container.as_str()).env("CNI_IFNAME", ifname.as_str());
            // Not all arguments are this plugin's, and a DEL that fails for one of them would fail for ever.
            let arguments = format!("IgnoreUnknown=1;{}", self.environment.arguments);
            program.env("CNI_NETNS", netns).env("CNI_ARGS", arguments.trim_end_matches(';'));
        }
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let run = async {
            let mut child = program.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // One that ends without reading says by its status why.
                drop(stdin.write_all(Value::Object(config).to_string().as_bytes()).await);
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(PATIENCE, run).await;
        let output = output.map_err(|_| IpamError::TooLong(path.clone()))?.map_err(failed)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let plugin = self.plugin.to_owned();
        Err(match serde_json::from_slice::<Printed>(&output.stdout) {
            Ok(Printed { code, msg, details }) => {
                let message = if details.is_empty() { msg } else { format!("{msg}: {details}") };
                IpamError::Failed { plugin, command, code, message }
            }
            Err(_) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                IpamError::Failed { plugin, command, code: 0, message: format!("{}, {said}", output.status) }
            }
        })
    }
}

fn directories(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    environment.search_path.iter().cloned().chain(DIRECTORIES.map(PathBuf::from))
}

/// The plugin's program.
fn find(plugin: &str, environment: &Environment) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    directories(environment).map(|directory| directory.join(plugin)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Phase;
    use footbridge_cni::{Call, Request};
    use footbridge_openflow::MacAddr;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    fn network() -> Network {
        Network {
            subnet: "10.222.1.0/24".parse().unwrap(),
            mtu: 1450,
            plain_frames: true,
            taken: [Ipv4Addr::new(10, 222, 1, 9)].into(),
            reserved_macs: BTreeSet::new(),
        }
    }

    fn chosen(keys: &Value, begun: &[Addressing]) -> Addressing {
        let mut config = json!({"cniVersion": "1.1.0", "name": "pods", "type": "footbridge"});
        for (key, value) in keys.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let variables = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a"), ("CNI_IFNAME", "eth0")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let request = Request { environment, config: config.to_string() };
        let Ok(Call::Del(target, config)) = Call::parse(&request) else { panic!("{config} is no DEL") };
        let record = |addressing: &Addressing| Record {
            attachment: target.attachment.clone(),
            network: "pods".to_owned(),
            pod: target.pod.clone(),
            netns: "/run/netns/a".into(),
            interface: "a-000000".to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            address: None,
            mtu: 1450,
            addressing: addressing.clone(),
            boot: String::new(),
            phase: Phase::Added,
        };
        let others: Vec<Record> = begun.iter().map(record).collect();
        choose(&config, &target.environment, &network(), Path::new("/state"), &others)
    }

    #[test]
    fn the_allocator_that_was_begun_with_goes_on_unless_another_is_named() {
        let host_local = chosen(&json!({"ipam": {"type": "host-local"}}), &[]);
        assert_eq!(
            chosen(&json!({"ipam": {"type": "footbridge"}}), std::slice::from_ref(&host_local)),
            Addressing::Own
        );
        assert_eq!(chosen(&json!({}), &[Addressing::Own]), Addressing::Own);
        let Addressing::Delegated { plugin, config, .. } = chosen(&json!({}), &[host_local]) else {
            panic!()
        };
        assert_eq!(plugin, "host-local");
        assert_eq!(config["ipam"]["dataDir"], "/state/host-local");
    }

    #[test]
    fn a_plugin_is_told_the_nodes_subnet_where_it_is_told_no_other() {
        let told = |ipam: Value| match chosen(&json!({"ipam": ipam, "prevResult": {}}), &[]) {
            Addressing::Delegated { config, .. } => config,
            Addressing::Own => panic!("another was named"),
        };
        let config = told(json!({"type": "host-local", "dataDir": "/elsewhere"}));
        assert_eq!(config["cniVersion"], "0.4.0");
        assert_eq!(config.get("prevResult"), None);
        let ranges = json!([[{"subnet": "10.222.1.0/24", "gateway": "10.222.1.1"}]]);
        assert_eq!(config["ipam"], json!({"type": "host-local", "dataDir": "/elsewhere", "ranges": ranges}));
        let own = json!({"type": "host-local", "subnet": "10.222.1.0/25"});
        assert_eq!(told(own.clone())["ipam"], own);
        let other = json!({"type": "static"});
        assert_eq!(told(other.clone())["ipam"], other);
    }

    fn answer(address: &str, gateway: Option<&str>) -> Result<PodAddress, String> {
        let result = json!({"ips": [{"address": address, "gateway": gateway}]});
        usable(AddResult::parse(&result).unwrap(), &network())
    }

    #[test]
    fn an_address_of_the_nodes_subnet_gets_the_default_route() {
        let expected = PodAddress::in_subnet(Ipv4Addr::new(10, 222, 1, 7), network().subnet);
        assert_eq!(answer("10.222.1.7/24", None), Ok(expected.clone()));
        assert_eq!(answer("10.222.1.7/24", Some("10.222.1.1")), Ok(expected));
    }

    #[test]
    fn an_address_that_this_node_can_not_serve_is_refused() {
        for (address, gateway) in [
            ("10.222.2.7/24", None),
            ("10.222.1.1/24", None),
            ("10.222.1.0/24", None),
            ("10.222.1.255/24", None),
            ("10.222.1.9/24", None),
            ("fd00::7/64", None),
            ("10.222.1.7/24", Some("10.222.1.254")),
        ] {
            assert!(answer(address, gateway).is_err(), "{address}");
        }
        assert!(usable(AddResult::default(), &network()).is_err(), "none at all");
    }
}
