//! Processes, told apart by pid and start time, found by record or by namespace, never by name.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to end by itself after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(4);

/// One process. The start time makes the pid unmistakable: a pid that was given out again has
/// another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of /proc/PID/stat.
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this pid now; None when it is gone or only waits to be reaped.
    pub(crate) fn with_pid(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name is in parentheses and may hold anything; the last ')' ends it.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Process { pid, started })
    }

    /// This process.
    pub(crate) fn myself() -> Option<Process> {
        i32::try_from(std::process::id()).ok().and_then(Process::with_pid)
    }

    /// Whether it runs.
    pub(crate) fn is_alive(self) -> bool {
        Process::with_pid(self.pid) == Some(self)
    }

    /// Send a signal, if it still is that process.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive() {
            match kill(Pid::from_raw(self.pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => tracing::warn!(pid = self.pid, %errno, "cannot signal process"),
            }
        }
    }
}

/// All processes whose main thread is in one of the network namespaces, given by device and inode;
/// this one left out.
pub(crate) fn inside(namespaces: &[(u64, u64)]) -> Vec<Process> {
    let me = i32::try_from(std::process::id()).ok();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| Some(*pid) != me)
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|meta| namespaces.contains(&(meta.dev(), meta.ino())))
        })
        .filter_map(Process::with_pid)
        .collect()
}

/// Ask the processes to end, wait, and end those that don't. Blocks; returns when all are gone.
pub(crate) fn end(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::SIGTERM);
        // A stopped process takes its SIGTERM only when it goes on.
        process.signal(Signal::SIGCONT);
    }
    if !wait_until_gone(processes, PATIENCE) {
        for process in processes.iter().filter(|p| p.is_alive()) {
            tracing::warn!(pid = process.pid, "did not end in time, killed");
            process.signal(Signal::SIGKILL);
        }
        wait_until_gone(processes, PATIENCE);
    }
}

/// Collect the exit statuses of this process's ended children, so that none is left to init. For the
/// end of a lab, when nothing waits for a child of its own any more.
pub(crate) fn reap_children() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Whether all are gone before the time is over.
pub(crate) fn wait_until_gone(processes: &[Process], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while processes.iter().any(|p| p.is_alive()) {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}
