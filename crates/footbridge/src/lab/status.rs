//! `lab status`: what the record says and how it is now.

use super::LabError;
use super::record::{MemberKind, Places};
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::Path;

/// Whether an agent has done what its node needs.
pub(crate) enum Readiness {
    /// It has.
    Ready,
    /// Not yet, and why.
    NotYet(String),
}

/// Ask the agent whose run directory that is.
pub(crate) async fn agent(run: &Path) -> Readiness {
    match run.join("ready").exists() {
        true => Readiness::Ready,
        false => Readiness::NotYet("it has not said that it is ready".into()),
    }
}

#[derive(Serialize)]
struct Status {
    name: String,
    cluster: String,
    ready: bool,
    members: Vec<MemberStatus>,
}

#[derive(Serialize)]
struct MemberStatus {
    name: String,
    #[serde(flatten)]
    kind: MemberKind,
    namespace: String,
    address: Ipv4Addr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// The status of the lab of that name, as a table or as JSON.
pub(crate) async fn text(name: &str, json: bool) -> Result<String, LabError> {
    let status = of(name).await?;
    if json {
        let text = serde_json::to_string_pretty(&status).map_err(|e| LabError::io("write JSON", e.into()))?;
        return Ok(text + "\n");
    }
    let width = status.members.iter().map(|m| m.name.len()).max().unwrap_or(0);
    let mut text = format!("lab {}, cluster file {}\n", status.name, status.cluster);
    for member in &status.members {
        let what = match &member.kind {
            MemberKind::Node => "node".to_owned(),
            MemberKind::Pod { node } => format!("pod on {node}"),
        };
        let pid = member.pid.map_or_else(String::new, |pid| format!("pid {pid}"));
        let state = match (&member.why, member.ready) {
            (Some(why), false) => format!("not ready: {why}"),
            (None, false) => "not ready".to_owned(),
            (_, true) => "ready".to_owned(),
        };
        let (name, address) = (&member.name, member.address);
        text += &format!("{name:<width$}  {what:<14}  {address:<15}  {pid:<12}  {state}\n");
    }
    Ok(text)
}

async fn of(name: &str) -> Result<Status, LabError> {
    let places = Places::of(name);
    let record = places.load()?;
    let mut members = Vec::new();
    for (name, member) in &record.members {
        let alive = member.process.iter().chain(&member.daemons).all(|p| p.is_alive());
        let readiness = match (&member.kind, alive) {
            (_, false) => Readiness::NotYet("a process of it has ended; see its log, and `lab down`".into()),
            (MemberKind::Node, true) if member.process.is_none() => {
                Readiness::NotYet("its agent was not started".into())
            }
            (MemberKind::Node, true) => agent(&places.node_run(name)).await,
            (MemberKind::Pod { .. }, true) => Readiness::Ready,
        };
        let (ready, why) = match readiness {
            Readiness::Ready => (true, None),
            Readiness::NotYet(why) => (false, Some(why)),
        };
        members.push(MemberStatus {
            name: name.clone(),
            kind: member.kind.clone(),
            namespace: member.namespace.clone(),
            address: member.address,
            pid: member.process.map(|p| p.pid),
            ready,
            why,
        });
    }
    // Nodes first, each kind by name.
    members.sort_by_key(|m| m.kind != MemberKind::Node);
    let ready = members.iter().all(|m| m.ready);
    Ok(Status { name: record.name, cluster: record.cluster.display().to_string(), ready, members })
}
