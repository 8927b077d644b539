//! `lab exec`: become a command inside a node or a pod.
//!
//! The command runs in the member's network namespace and in a mount namespace of its own, where
//! /sys shows that network namespace (as `ip netns exec` does it) and /etc/hosts is the member's.

use super::record::{Member, MemberKind, Places, Record};
use super::{LabError, netns};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Replace this process by `command` inside `member`. Returns only errors. The process must have one
/// thread.
pub(crate) fn exec(places: &Places, record: &Record, member: &str, command: &[OsString]) -> LabError {
    match prepare(places, record, member, command) {
        Ok(mut command) => {
            let program = command.get_program().to_string_lossy().into_owned();
            LabError::Exec { program, source: command.exec() }
        }
        Err(error) => error,
    }
}

fn prepare(places: &Places, record: &Record, name: &str, command: &[OsString]) -> Result<Command, LabError> {
    let (namespace, member): (&str, Option<&Member>) = match (record.members.get(name), name) {
        (Some(member), _) => (&member.namespace, Some(member)),
        (None, "underlay") => (&record.underlay, None),
        (None, _) => {
            let names = record.members.keys().cloned().chain(["underlay".to_owned()]).collect();
            return Err(LabError::UnknownMember { name: name.to_owned(), names });
        }
    };
    netns::enter(namespace)?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |errno: Errno| LabError::io(what, errno.into())
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    // Nothing mounted here shows outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(failed("make / a slave mount"))?;
    // Not mounted, or busy: the new one lies over it.
    let _unmounted = umount2("/sys", MntFlags::MNT_DETACH);
    mount(Some(namespace), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)
        .map_err(failed("mount /sys"))?;
    let hosts = places.hosts(name);
    if hosts.exists() {
        if !Path::new("/etc/hosts").exists() {
            return Err(LabError::NoHostsFile);
        }
        mount(Some(&hosts), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(failed("mount /etc/hosts"))?;
    }
    let (program, arguments) =
        command.split_first().ok_or_else(|| LabError::io("run a command", io::Error::other("none given")))?;
    // The program that made the lab, whatever else PATH may have under its name.
    let ourselves = (program == "footbridge").then(std::env::current_exe).and_then(Result::ok);
    let mut command = ourselves.map_or_else(|| Command::new(program), Command::new);
    command.args(arguments);
    if member.is_some_and(|m| m.kind == MemberKind::Node) {
        let run = places.node_run(name);
        command.env("OVS_RUNDIR", &run).env("FOOTBRIDGE_RUN_DIR", &run);
    }
    if let Some(path) = path_with_ourselves() {
        command.env("PATH", path);
    }
    Ok(command)
}

/// PATH with this program's directory at the end, so that `footbridge flows` works inside.
fn path_with_ourselves() -> Option<OsString> {
    let exe = std::env::current_exe().ok()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([exe.parent()?.to_owned()]);
    std::env::join_paths(dirs).ok()
}
