//! Open vSwitch's database, by way of ovs-vsctl(8).
//!
//! Values are in the notation of RFC 7047 §5.1: a set of one stands for its element, maps are lists of
//! pairs. The columns are ovs-vswitchd.conf.db(5)'s.

use super::ports::{Command, INTERFACE_MARK, PORT_MARK};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long ovs-vsctl may take, in which ovs-vswitchd carries out a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// One bridge's part of a database.
#[derive(Debug, Clone)]
pub(super) struct Database {
    remote: String,
    bridge: String,
}

/// The database could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no ovs-vsctl.
    #[error("ovs-vsctl is not installed; it is in the package openvswitch-switch")]
    NotInstalled,
    /// It can't be run.
    #[error("can't run ovs-vsctl: {0}")]
    Run(#[source] io::Error),
    /// It failed.
    #[error("can't {attempt} of bridge {bridge}: {said}")]
    Failed {
        /// What was attempted.
        attempt: &'static str,
        /// The bridge.
        bridge: String,
        /// Its words.
        said: String,
    },
    /// It printed something else.
    #[error("ovs-vsctl printed what is no table of the database: {0}")]
    Unreadable(String),
}

/// The bridge as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Snapshot {
    pub(super) datapath_type: String,
    pub(super) fail_mode: Option<String>,
    /// Its ports of one interface each, by name; bonds are left out.
    pub(super) ports: BTreeMap<String, Port>,
}

/// A port and its interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Port {
    /// The interface's type; empty for a device of the host's.
    pub(super) kind: String,
    pub(super) options: BTreeMap<String, String>,
    /// Its OpenFlow number; none, or -1, while it has none.
    pub(super) number: Option<i64>,
    pub(super) number_requested: Option<i64>,
    pub(super) mtu_requested: Option<i64>,
    /// Why ovs-vswitchd can't have it.
    pub(super) error: Option<String>,
    /// It is ours.
    pub(super) ours: bool,
    /// The number of the device that it was made of, where we made it.
    pub(super) device: Option<u32>,
}

impl Snapshot {
    /// Whether the bridge's datapath is the kernel's.
    pub(super) fn in_kernel(&self) -> bool {
        matches!(self.datapath_type.as_str(), "" | "system")
    }
}

impl Database {
    /// The part of `bridge` in the database whose socket is in `directory`.
    pub(super) fn of(directory: &Path, bridge: &str) -> Database {
        let remote = format!("--db=unix:{}", directory.join("db.sock").display());
        Database { remote, bridge: bridge.to_owned() }
    }

    /// The bridge and its ports.
    pub(super) async fn read(&self) -> Result<Snapshot, DatabaseError> {
        let list = |columns: &str, table: &[&str]| {
            let words = [&[columns, "list"], table].concat();
            words.into_iter().map(str::to_owned).collect::<Command>()
        };
        let printed = self
            .run(
                "read the ports",
                &[
                    list("--columns=datapath_type,fail_mode,ports", &["Bridge", &self.bridge]),
                    list("--columns=_uuid,name,interfaces,external_ids", &["Port"]),
                    list(
                        "--columns=_uuid,type,options,ofport,ofport_request,mtu_request,error,external_ids",
                        &["Interface"],
                    ),
                ],
            )
            .await?;
        snapshot(&printed)
    }

    /// Carry out the commands in one transaction, and wait until ovs-vswitchd has.
    pub(super) async fn change(&self, commands: &[Command]) -> Result<(), DatabaseError> {
        self.run("change the ports", commands).await.map(drop)
    }

    async fn run(&self, attempt: &'static str, commands: &[Command]) -> Result<String, DatabaseError> {
        let mut vsctl = tokio::process::Command::new("ovs-vsctl");
        vsctl.arg(&self.remote).arg(format!("--timeout={}", PATIENCE.as_secs())).arg("--format=json");
        for command in commands {
            vsctl.arg("--").args(command);
        }
        vsctl.stdin(Stdio::null()).kill_on_drop(true);
        let output = vsctl.output().await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DatabaseError::NotInstalled,
            _ => DatabaseError::Run(error),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = match said.trim() {
            "" => output.status.to_string(),
            said => said.to_owned(),
        };
        Err(DatabaseError::Failed { attempt, bridge: self.bridge.clone(), said })
    }
}

/// A table as `ovs-vsctl --format=json list` prints it.
#[derive(Deserialize)]
struct Table {
    headings: Vec<String>,
    data: Vec<Vec<Value>>,
}

impl Table {
    /// The rows, each with its values by column.
    fn rows(self) -> impl Iterator<Item = BTreeMap<String, Value>> {
        let headings = self.headings;
        self.data.into_iter().map(move |row| headings.iter().cloned().zip(row).collect())
    }
}

/// Read what [`Database::read`] asks for: three tables, one behind the other.
fn snapshot(printed: &str) -> Result<Snapshot, DatabaseError> {
    let unreadable = |why: &dyn ToString| DatabaseError::Unreadable(why.to_string());
    let tables = serde_json::Deserializer::from_str(printed).into_iter::<Table>();
    let tables: Vec<Table> = tables.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    let [bridges, ports, interfaces] =
        <[Table; 3]>::try_from(tables).map_err(|tables| unreadable(&format!("{} tables", tables.len())))?;
    let bridge = bridges.rows().next().ok_or_else(|| unreadable(&"no bridge"))?;
    let id = |row: &BTreeMap<String, Value>| row.get("_uuid").and_then(uuid);
    let ports: BTreeMap<String, _> = ports.rows().filter_map(|row| Some((id(&row)?, row))).collect();
    let interfaces: BTreeMap<String, _> =
        interfaces.rows().filter_map(|row| Some((id(&row)?, row))).collect();
    let of_bridge = set(bridge.get("ports")).into_iter().filter_map(|id| ports.get(&uuid(id)?));
    let named = of_bridge.filter_map(|port| {
        let name = text(port.get("name"))?;
        let [interface] = set(port.get("interfaces"))[..] else { return None };
        let interface = interfaces.get(&uuid(interface)?)?;
        let number = |column: &str| set(interface.get(column)).first()?.as_i64();
        let marks = map(interface.get("external_ids"));
        Some((
            name,
            Port {
                kind: text(interface.get("type")).unwrap_or_default(),
                options: map(interface.get("options")),
                number: number("ofport"),
                number_requested: number("ofport_request"),
                mtu_requested: number("mtu_request"),
                error: text(interface.get("error")),
                ours: map(port.get("external_ids")).contains_key(PORT_MARK),
                device: marks.get(INTERFACE_MARK).and_then(|number| number.parse().ok()),
            },
        ))
    });
    Ok(Snapshot {
        datapath_type: text(bridge.get("datapath_type")).unwrap_or_default(),
        fail_mode: text(bridge.get("fail_mode")),
        ports: named.collect(),
    })
}

/// The elements of `["set", […]]`; anything else is a set of itself.
fn set(value: Option<&Value>) -> Vec<&Value> {
    match (value.and_then(Value::as_array).map(Vec::as_slice), value) {
        (Some([Value::String(kind), Value::Array(elements)]), _) if kind == "set" => {
            elements.iter().collect()
        }
        (_, value) => value.into_iter().collect(),
    }
}

/// `["uuid", "…"]`
fn uuid(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [Value::String(kind), Value::String(id)] if kind == "uuid" => Some(id.clone()),
        _ => None,
    }
}

/// A text; none for an empty set.
fn text(value: Option<&Value>) -> Option<String> {
    set(value).first()?.as_str().map(str::to_owned)
}

/// `["map", [[key, value], …]]`
fn map(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = match value.and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(kind), Value::Array(pairs)]) if kind == "map" => pairs.as_slice(),
        _ => &[],
    };
    let pair = |pair: &Value| match pair.as_array()?.as_slice() {
        [Value::String(key), Value::String(value)] => Some((key.clone(), value.clone())),
        _ => None,
    };
    pairs.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Open vSwitch 3.1.0 prints it, shortened: two bridges, and a bond.
    const PRINTED: &str = r#"{"data":[["netdev","secure",["set",[["uuid","p1"],["uuid","p2"],["uuid","p3"]]]]],"headings":["datapath_type","fail_mode","ports"]}

{"data":[[["uuid","p1"],"pod1",["uuid","i1"],["map",[["footbridge","pod"]]]],[["uuid","p2"],"antrea-tun0",["uuid","i2"],["map",[]]],[["uuid","p3"],"bond0",["set",[["uuid","i3"],["uuid","i4"]]],["map",[]]],[["uuid","p4"],"br-phy",["uuid","i5"],["map",[]]]],"headings":["_uuid","name","interfaces","external_ids"]}

{"data":[[["uuid","i1"],"",["map",[]],-1,48,["set",[]],"could not open network device pod1 (No such device)",["map",[["footbridge-ifindex","8"]]]],[["uuid","i2"],"vxlan",["map",[["key","0"],["remote_ip","flow"]]],1,["set",[]],1400,["set",[]],["map",[]]]],"headings":["_uuid","type","options","ofport","ofport_request","mtu_request","error","external_ids"]}
"#;

    #[test]
    fn the_ports_of_the_bridge_are_read_and_no_others() {
        let read = snapshot(PRINTED).unwrap();
        assert_eq!((read.datapath_type.as_str(), read.fail_mode.as_deref()), ("netdev", Some("secure")));
        assert_eq!(read.ports.keys().collect::<Vec<_>>(), ["antrea-tun0", "pod1"]);
        let pod = &read.ports["pod1"];
        assert_eq!((pod.number, pod.number_requested, pod.mtu_requested), (Some(-1), Some(48), None));
        assert_eq!((pod.ours, pod.device, pod.kind.as_str()), (true, Some(8), ""));
        assert!(pod.error.as_ref().unwrap().contains("No such device"));
        let tunnel = &read.ports["antrea-tun0"];
        assert_eq!(tunnel.options["remote_ip"], "flow");
        assert_eq!((tunnel.ours, tunnel.error.as_ref(), tunnel.mtu_requested), (false, None, Some(1400)));
    }

    #[test]
    fn a_bridge_of_one_port_and_one_of_none_are_read_too() {
        let one =
            PRINTED.replace(r#"["set",[["uuid","p1"],["uuid","p2"],["uuid","p3"]]]"#, r#"["uuid","p1"]"#);
        assert_eq!(snapshot(&one).unwrap().ports.len(), 1);
        let none = PRINTED.replace(r#"[["uuid","p1"],["uuid","p2"],["uuid","p3"]]"#, "[]");
        let read = snapshot(&none.replace(r#""secure""#, r#"["set",[]]"#)).unwrap();
        assert_eq!((read.ports.len(), read.fail_mode), (0, None));
    }

    #[test]
    fn what_is_no_table_is_said() {
        for (printed, said) in [("", "0 tables"), ("{}", "missing field"), ("[1", "invalid type")] {
            let error = snapshot(printed).unwrap_err().to_string();
            assert!(error.contains(said), "{printed}: {error}");
        }
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        match Database::of(directory.path(), "br-int").read().await.unwrap_err() {
            DatabaseError::NotInstalled => {
                println!("skipped: a_database_that_is_not_there_is_named: no ovs-vsctl")
            }
            error => {
                let error = error.to_string();
                assert!(
                    error.starts_with("can't read the ports of bridge br-int: ovs-vsctl: unix:/"),
                    "{error}"
                );
                assert!(error.contains("No such file"), "{error}");
            }
        }
    }
}
