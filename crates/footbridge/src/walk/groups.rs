//! Groups, as `ovs-ofctl dump-groups` prints them (ovs-ofctl(8), "Group Syntax").
//!
//! A walk carries a group out as a copy of the packet with the bucket's actions for its action set, which
//! is what a bucket is (OpenFlow 1.3.5, section 5.6.1). Which bucket of a `select` group a packet gets depends on
//! a hash of the switch's own, so it is chosen: the first, or the one that was asked for, and the walk says which.

use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Action, PortNames};
use std::collections::BTreeMap;

/// A bridge's groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups(BTreeMap<u32, Group>);

#[derive(Debug, Clone)]
struct Group {
    kind: String,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    id: u32,
    actions: Vec<Action>,
}

/// Why a line is no group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub(crate) struct GroupsError {
    line: usize,
    what: String,
}

/// What a group does to a packet.
#[derive(Debug)]
pub(super) enum Chosen {
    /// These, and in words why these.
    Actions(Action, String),
    /// That is not known, and this would tell.
    Unknown(String),
}

impl Groups {
    /// Read what `ovs-ofctl dump-groups` prints.
    ///
    /// # Errors
    /// A group that can't be read.
    pub(crate) fn parse(text: &str, names: &PortNames) -> Result<Groups, GroupsError> {
        let lines = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("group_id="));
        let groups = lines
            .map(|(at, line)| group(line.trim(), names).map_err(|what| GroupsError { line: at + 1, what }));
        Ok(Groups(groups.collect::<Result<_, _>>()?))
    }

    /// What a group does; of the buckets of one that selects, the one that `wanted` says, or the first.
    pub(super) fn choose(&self, id: u32, wanted: Option<u32>) -> Chosen {
        let Some(Group { kind, buckets }) = self.0.get(&id) else {
            return Chosen::Unknown(format!(
                "group {id} is not known: give --groups, what `ovs-ofctl dump-groups` prints"
            ));
        };
        let one = |bucket: &Bucket, why: String| Chosen::Actions(carried_out(bucket), why);
        match (&kind[..], &buckets[..]) {
            (_, []) => Chosen::Actions(Action::Clone(Vec::new()), format!("group {id} has no bucket")),
            ("all", buckets) => Chosen::Actions(
                Action::Clone(buckets.iter().map(carried_out).collect()),
                format!("all {} buckets of group {id}", buckets.len()),
            ),
            ("indirect", [only]) | ("select", [only]) => one(only, format!("the bucket of group {id}")),
            ("select", [first, ..]) if wanted.is_none() => one(
                first,
                format!(
                    "bucket {} of group {id}, the first of {}; --bucket {id}=N is for another",
                    first.id,
                    buckets.len()
                ),
            ),
            ("select" | "ff" | "fast_failover", buckets) if wanted.is_some() => {
                match buckets.iter().find(|bucket| Some(bucket.id) == wanted) {
                    Some(bucket) => one(bucket, format!("bucket {} of group {id}, as asked", bucket.id)),
                    None => Chosen::Unknown(format!(
                        "group {id} has no bucket {}: it has {}",
                        wanted.unwrap_or_default(),
                        buckets.iter().map(|b| b.id.to_string()).collect::<Vec<_>>().join(", ")
                    )),
                }
            }
            (kind, _) => Chosen::Unknown(format!(
                "group {id} is of type {kind}, and a dump does not say which bucket is in use: give --bucket {id}=N"
            )),
        }
    }
}

/// A bucket's actions are an action set of their own, on a copy.
fn carried_out(bucket: &Bucket) -> Action {
    Action::Clone(vec![Action::ClearActions, Action::WriteActions(bucket.actions.clone())])
}

fn group(line: &str, names: &PortNames) -> Result<(u32, Group), String> {
    let mut parts = line.split(",bucket=");
    let head = parts.next().unwrap_or_default();
    let word = |name: &str| head.split(',').find_map(|item| item.strip_prefix(name)?.strip_prefix('='));
    let id = word("group_id").and_then(|id| id.parse().ok()).ok_or("expected group_id=NUMBER")?;
    let kind = word("type").ok_or("expected type=all, select, indirect or ff")?.to_owned();
    let buckets = parts.enumerate().map(|(at, text)| bucket(at as u32, text, names));
    Ok((id, Group { kind, buckets: buckets.collect::<Result<_, _>>()? }))
}

fn bucket(at: u32, text: &str, names: &PortNames) -> Result<Bucket, String> {
    let (head, actions) = match text.split_once("actions=") {
        Some((head, actions)) => (head, actions),
        None => (text, "drop"),
    };
    let id = head.split(',').find_map(|item| item.trim().strip_prefix("bucket_id:")?.parse().ok());
    // A bucket does not say what packets it is for, so that its actions fit those they can fit.
    let readings = ["", "ip,", "tcp,", "udp,", "ipv6,", "tcp6,", "udp6,", "arp,"];
    let mut failed = None;
    for packets in readings {
        match parse_flow(&format!("{packets}actions={actions}"), names) {
            Ok(flow) => return Ok(Bucket { id: id.unwrap_or(at), actions: flow.actions.to_vec() }),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.map_or_else(String::new, |error| format!("the actions '{actions}': {}", error.problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "NXST_GROUP_DESC reply (xid=0x2):
 group_id=5,type=select,bucket=bucket_id:0,weight:100,actions=load:0xa0a0002->NXM_NX_REG3[],resubmit(,50),bucket=bucket_id:1,weight:100,actions=load:0xa0a0003->NXM_NX_REG3[],resubmit(,50)
 group_id=6,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=output:2
 group_id=7,type=ff,bucket=bucket_id:0,watch_port:1,actions=output:1
";

    fn told(id: u32, wanted: Option<u32>) -> Result<(Action, String), String> {
        match Groups::parse(DUMP, &PortNames::none()).unwrap().choose(id, wanted) {
            Chosen::Actions(action, why) => Ok((action, why)),
            Chosen::Unknown(what) => Err(what),
        }
    }

    #[test]
    fn a_select_group_takes_the_first_bucket_or_the_one_asked_for_and_says_so() {
        let (action, why) = told(5, None).unwrap();
        assert!(format!("{action:?}").contains("168427522"), "{action:?}");
        assert_eq!(why, "bucket 0 of group 5, the first of 2; --bucket 5=N is for another");
        assert!(format!("{:?}", told(5, Some(1)).unwrap().0).contains("168427523"));
        assert_eq!(told(5, Some(9)).unwrap_err(), "group 5 has no bucket 9: it has 0, 1");
    }

    #[test]
    fn every_bucket_of_an_all_group_has_a_copy() {
        let (Action::Clone(copies), _) = told(6, None).unwrap() else { panic!("no copies") };
        assert_eq!(copies.len(), 2);
    }

    #[test]
    fn what_a_dump_does_not_say_is_asked_for() {
        assert!(told(7, None).unwrap_err().ends_with("give --bucket 7=N"));
        assert!(told(8, None).unwrap_err().contains("--groups"));
    }
}
