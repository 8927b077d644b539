//! Network namespaces, veth pairs and commands for tests on a real kernel.
//!
//! Names are unique per process and test; everything is removed on drop, failure included. Nothing
//! is sent outside the namespaces made here.

#![allow(dead_code, reason = "each test program uses its part")]

use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Whether this process may make namespaces; where not, says that the test is skipped.
pub(crate) fn privileged(test: &str) -> bool {
    let probe = format!("fbp{}-{}", std::process::id(), serial());
    let made = run(&["ip", "netns", "add", &probe]);
    let deleted = run(&["ip", "netns", "del", &probe]);
    match (made, deleted) {
        (Ok(_), Ok(_)) => true,
        (Err(why), _) | (_, Err(why)) => {
            println!("skipped: {test}: {}", why.trim());
            false
        }
    }
}

fn serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A network namespace, gone when dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, with its loopback up and IPv6 off, so that it sends nothing by itself.
    pub(crate) fn new(role: &str) -> Namespace {
        let name = format!("fbt{}-{}-{role}", std::process::id(), serial());
        must(&["ip", "netns", "add", &name]);
        let namespace = Namespace { name };
        namespace.must("ip link set lo up");
        namespace.must("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Run a shell script inside; true where it succeeds.
    pub(crate) fn shell(&self, script: &str) -> bool {
        run(&["ip", "netns", "exec", &self.name, "sh", "-c", script]).is_ok()
    }

    /// Run a command inside; its words are separated by spaces.
    pub(crate) fn run(&self, command: &str) -> Result<String, String> {
        let words: Vec<&str> = command.split(' ').collect();
        run(&[&["ip", "netns", "exec", &self.name], words.as_slice()].concat())
    }

    /// Run a command inside that has to succeed.
    pub(crate) fn must(&self, command: &str) -> String {
        self.run(command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// Start a shell script inside and leave it running, until the result is dropped.
    pub(crate) fn spawn_shell(&self, script: &str) -> Running {
        self.start(&["sh", "-c", script])
    }

    /// Start a command inside and leave it running, until the result is dropped.
    pub(crate) fn spawn(&self, command: &str) -> Running {
        self.start(&command.split(' ').collect::<Vec<_>>())
    }

    fn start(&self, words: &[&str]) -> Running {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", words.join(" ")));
        Running(Some(child))
    }

    /// Do something in a thread that is inside, and have its result. What it starts stays inside.
    pub(crate) fn enter<R: Send>(&self, action: impl FnOnce() -> R + Send) -> R {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = std::fs::File::open(&path).unwrap();
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Make a veth pair between `device` here and `far` in `other`, both up, no address on either.
    pub(crate) fn veth(&self, device: &str, other: &Namespace, far: &str) {
        must(&[
            "ip",
            "link",
            "add",
            "name",
            device,
            "netns",
            &self.name,
            "type",
            "veth",
            "peer",
            "name",
            far,
            "netns",
            &other.name,
        ]);
        self.must(&format!("ip link set dev {device} up"));
        other.must(&format!("ip link set dev {far} up"));
    }

    /// Keep this namespace's own stack from seeing, and answering, what comes in on `device`. Packet
    /// sockets still do: they stand before the hook.
    pub(crate) fn deafen(&self, device: &str) {
        self.must(&format!("nft add table netdev deaf-{device}"));
        let hook = format!("{{ type filter hook ingress device {device} priority 0 ; policy drop ; }}");
        self.must(&format!("nft add chain netdev deaf-{device} in {hook}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(why) = run(&["ip", "netns", "del", &self.name]) {
            eprintln!("namespace {} stays: {why}", self.name);
        }
    }
}

/// A command that is running. Ended when dropped.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Wait for its end; its standard output.
    pub(crate) fn wait(mut self) -> String {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// End it; what it printed.
    pub(crate) fn stop(mut self) -> String {
        let mut child = self.0.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A plain host on a bridge's port: a namespace of its own with `eth0`, offloads off.
///
/// The other end of its `eth0` is `port` in `bridge`, out of reach of that namespace's stack.
pub(crate) fn host(bridge: &Namespace, port: &str, address: &str) -> Namespace {
    let host = Namespace::new(port);
    attach_host(bridge, port, &host, address);
    host
}

/// Give an existing host namespace its `eth0` on `port` of `bridge`.
pub(crate) fn attach_host(bridge: &Namespace, port: &str, host: &Namespace, address: &str) {
    bridge.veth(port, host, "eth0");
    bridge.deafen(port);
    host.must(&format!("ip addr add {address} dev eth0"));
    host.enter(|| footbridge_datapath::offload::disable("eth0")).unwrap();
}

/// Whether the host gets answers to 3 of 3 pings.
pub(crate) fn pings(from: &Namespace, to: &str) -> bool {
    from.run(&format!("ping -q -c 3 -i 0.05 -W 1 {to}")).is_ok()
}

/// Whether `bytes` bytes of TCP get from one host to the other, which has `address`.
pub(crate) fn tcp_passes(from: &Namespace, to: &Namespace, address: &str, bytes: usize) -> bool {
    let receiver = to.spawn_shell(&format!("nc -l -d {address} 7000 | wc -c"));
    eventually("nc listens", Duration::from_secs(5), || to.must("ss -Hltn").contains(":7000"));
    let sent = from.shell(&format!("head -c {bytes} /dev/zero | nc -N -w 5 {address} 7000"));
    sent && receiver.wait().trim() == bytes.to_string()
}

/// Wait until the condition holds, at most `patience`.
pub(crate) fn eventually(what: &str, patience: Duration, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn must(words: &[&str]) -> String {
    run(words).unwrap_or_else(|why| panic!("{}: {why}", words.join(" ")))
}

fn run(words: &[&str]) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        Command::new(words[0]).args(&words[1..]).output().map_err(|e| e.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if status.success() { Ok(text(stdout)) } else { Err(format!("{}{}", text(stderr), text(stdout))) }
}
