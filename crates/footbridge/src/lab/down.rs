//! Taking a lab away: by its record, whoever made it and however that process ended.

use super::LabError;
use super::netns::Namespace;
use super::process::{self, Process};
use super::record::{Member, Places};
use nix::sys::signal::Signal;
use std::io;
use std::time::Duration;

/// Take the lab of that name away, however it came to be there. Blocks. `NotThere` when it isn't.
pub(crate) fn down(name: &str) -> Result<(), LabError> {
    let places = Places::of(name);
    let mut record = match places.load() {
        Ok(record) => record,
        Err(LabError::NotThere { name }) => return Err(LabError::NotThere { name }),
        // Killed between making the directory and writing the record: nothing else was made.
        Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return places.remove();
        }
        Err(error) => return Err(error),
    };
    if let Some(runner) = record.runner.filter(|r| Some(*r) != Process::myself() && r.is_alive()) {
        // It takes its lab down by itself; only what it leaves is ours to do.
        runner.signal(Signal::SIGTERM);
        if process::wait_until_gone(&[runner], Duration::from_secs(15)) && !places.run().exists() {
            return Ok(());
        }
        process::end(&[runner]);
        // It may have made more since.
        record = match places.load() {
            Err(LabError::NotThere { .. }) => return Ok(()),
            other => other?,
        };
    }
    let members = remove_members(record.members.values());
    let underlay = Namespace::named(&record.underlay);
    end_inside(std::slice::from_ref(&underlay));
    let left = match (members, underlay.delete()) {
        (Ok(()), Ok(())) => Vec::new(),
        (Err(LabError::Left(mut left)), Err(error)) => {
            left.push(error.to_string());
            left
        }
        (Err(LabError::Left(left)), Ok(())) => left,
        (Err(error), _) | (_, Err(error)) => vec![error.to_string()],
    };
    process::reap_children();
    match left.is_empty() {
        true => places.remove(),
        // The record stays, so that `down` can be tried again.
        false => Err(LabError::Left(left)),
    }
}

/// End the members' processes and delete their namespaces: as many as can be, `Left` names the others.
pub(super) fn remove_members<'a>(members: impl Iterator<Item = &'a Member>) -> Result<(), LabError> {
    let members: Vec<&Member> = members.collect();
    let recorded: Vec<Process> =
        members.iter().flat_map(|m| m.process.iter().chain(&m.daemons)).copied().collect();
    process::end(&recorded);
    let namespaces: Vec<Namespace> = members.iter().map(|m| Namespace::named(&m.namespace)).collect();
    end_inside(&namespaces);
    let left: Vec<String> =
        namespaces.iter().filter_map(|namespace| Some(namespace.delete().err()?.to_string())).collect();
    if left.is_empty() { Ok(()) } else { Err(LabError::Left(left)) }
}

/// End all processes inside the namespaces: shells of `lab exec`, captures, whatever they started.
fn end_inside(namespaces: &[Namespace]) {
    let identities: Vec<(u64, u64)> = namespaces.iter().filter_map(|n| n.identity().ok()).collect();
    // A process may start another while it is told to end.
    for _ in 0..5 {
        let inside = process::inside(&identities);
        if inside.is_empty() {
            return;
        }
        process::end(&inside);
    }
}
