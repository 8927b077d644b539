//! Scenarios: what is done to a switch, and what is looked at; and carrying them out.

use crate::kernel::{Running, eventually};
use crate::normalise::{difference, normalise};
use crate::switches::{Bed, Switch};
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// What ovs-ofctl is told to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Nothing: it offers 1.0, and 1.4 for bundles.
    Default,
    V10,
    V13,
    V14,
    V15,
}

/// The versions that the bridge speaks.
pub(crate) const ALL: &[Version] = &[Version::V10, Version::V13, Version::V14, Version::V15];
/// Those with instructions, OXM, table features.
pub(crate) const FROM_13: &[Version] = &[Version::V13, Version::V14, Version::V15];
/// Those with bundles and importance of their own.
pub(crate) const FROM_14: &[Version] = &[Version::V14, Version::V15];

impl Version {
    fn options(self) -> &'static [&'static str] {
        match self {
            Version::Default => &[],
            Version::V10 => &["-O", "OpenFlow10"],
            Version::V13 => &["-O", "OpenFlow13"],
            Version::V14 => &["-O", "OpenFlow14"],
            Version::V15 => &["-O", "OpenFlow15"],
        }
    }
}

/// What is done to a switch, in some versions.
pub(crate) struct Scenario {
    /// What it shows, as a name.
    pub(crate) name: &'static str,
    /// In which versions.
    pub(crate) versions: &'static [Version],
    /// What is done, in this order.
    pub(crate) steps: &'static [Step],
}

/// One thing done. Words of a command are separated by blanks; quotes keep them together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Run ovs-ofctl; what it prints and how it ends is compared.
    Ofctl(&'static str),
    /// The same, with this standard input.
    OfctlWithInput(&'static str, &'static str),
    /// Run ovs-ofctl where Footbridge differs on purpose. That it still does is checked too.
    Differs {
        /// The command.
        command: &'static str,
        /// On what grounds.
        why: &'static str,
        /// What Footbridge's output has to hold, normalised; each of them. Where there is none, it is empty.
        ours: &'static [&'static str],
    },
    /// Write a file in the directory that commands run in.
    File(&'static str, &'static str),
    /// Run `ovs-ofctl OPTIONS monitor BRIDGE …`, until `MonitorEnds`.
    Monitor(&'static str),
    /// Wait until the monitor has printed a text so often.
    MonitorPrints(&'static str, usize),
    /// End the monitor; what it printed is compared.
    MonitorEnds,
    /// Watch the frames that come out of a port, until `Heard`.
    Listen(&'static str),
    /// So many frames that came out of the port are compared.
    Heard(&'static str, usize),
    /// Run a command on the host behind a port, which may fail.
    Host(&'static str, &'static str),
    /// Run a command in the bridge's namespace.
    Device(&'static str),
    /// Attach a device as a port of this number.
    AddPort(&'static str, u32),
    /// Detach a port.
    DelPort(&'static str),
    /// Let milliseconds go by.
    Wait(u64),
}

/// What each step of a scenario gave.
pub(crate) struct Transcript(Vec<String>);

/// What switches disagree about.
pub(crate) struct Disagreement {
    pub(crate) scenario: &'static str,
    pub(crate) version: Version,
    pub(crate) step: Step,
    pub(crate) what: String,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:?}, {:?}:\n{}", self.scenario, self.version, self.step, self.what)
    }
}

/// Which switch is beside Open vSwitch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Another Open vSwitch: nothing may differ.
    OpenVswitch,
    /// Footbridge: what differs on purpose has to.
    Footbridge,
}

/// Compare what a scenario gave with Open vSwitch and with the other.
pub(crate) fn compare(
    scenario: &Scenario,
    version: Version,
    [theirs, ours]: [Transcript; 2],
    beside: Beside,
) -> Vec<Disagreement> {
    if std::env::var_os("OFCTL_TRANSCRIPTS").is_some() {
        for (step, output) in scenario.steps.iter().zip(&theirs.0) {
            println!("{}, {version:?}, {step:?}:\n{output}", scenario.name);
        }
    }
    let outputs = theirs.0.into_iter().zip(ours.0);
    let disagreement = |step: Step, what| Disagreement { scenario: scenario.name, version, step, what };
    scenario
        .steps
        .iter()
        .zip(outputs)
        .filter_map(|(step, (theirs, ours))| {
            let what = match step {
                Step::Differs { ours: expected, why, .. } if beside == Beside::Footbridge => {
                    differs_as_expected(why, &theirs, &ours, expected)
                }
                _ => difference(&theirs, &ours),
            };
            Some(disagreement(*step, what?))
        })
        .collect()
}

/// What is wrong with a difference on purpose.
fn differs_as_expected(why: &str, theirs: &str, ours: &str, expected: &[&str]) -> Option<String> {
    if theirs == ours {
        return Some(format!("does not differ any more, although {why}:\n{ours}"));
    }
    if expected.is_empty() && !ours.is_empty() {
        return Some(format!("is not empty:\n{ours}"));
    }
    let missing = expected.iter().find(|text| !ours.contains(**text))?;
    Some(format!("{missing:?} is not in\n{ours}"))
}

/// Make a switch as it was: scenarios of a group share it.
pub(crate) fn reset(switch: &dyn Switch) {
    for command in ["del-flows br0", "del-groups br0", "set-frags br0 normal", "del-tlv-map br0"] {
        // Open vSwitch lets go of a deleted flow's tunnel options a moment later.
        eventually(command, Duration::from_secs(10), || {
            run(switch.bed(), Version::V10, command, None).is_empty()
        });
    }
}

/// Carry out a scenario.
pub(crate) fn carry_out(scenario: &Scenario, version: Version, switch: &dyn Switch) -> Transcript {
    let bed = switch.bed();
    let mut monitor = None;
    let mut listeners: Vec<Listener> = Vec::new();
    let mut unsettled = false;
    let mut outputs = Vec::new();
    for step in scenario.steps {
        if unsettled && !matches!(step, Step::Host(..)) {
            switch.settle();
            unsettled = false;
        }
        let output = match *step {
            Step::Ofctl(command) | Step::Differs { command, .. } => run(bed, version, command, None),
            Step::OfctlWithInput(command, input) => run(bed, version, command, Some(input)),
            Step::File(name, content) => {
                fs::write(bed.path(name), content).unwrap();
                String::new()
            }
            Step::Monitor(command) => {
                monitor = Some(Monitor::start(bed, version, command));
                String::new()
            }
            Step::MonitorPrints(text, count) => {
                monitor.as_ref().expect("a monitor").wait_for(text, count);
                String::new()
            }
            Step::MonitorEnds => monitor.take().expect("a monitor").end(),
            Step::Listen(port) => {
                listeners.push(Listener::start(bed, port));
                String::new()
            }
            Step::Heard(port, count) => {
                let index = listeners.iter().position(|listener| listener.port == port).expect("a listener");
                listeners.swap_remove(index).end(count)
            }
            Step::Host(port, command) => {
                bed.host(port).shell(command);
                unsettled = true;
                String::new()
            }
            Step::Device(command) => {
                bed.bridge().must(command);
                String::new()
            }
            Step::AddPort(device, number) => {
                switch.add_port(device, number);
                String::new()
            }
            Step::DelPort(name) => {
                switch.del_port(name);
                String::new()
            }
            Step::Wait(milliseconds) => {
                std::thread::sleep(Duration::from_millis(milliseconds));
                String::new()
            }
        };
        // A packet that ovs-ofctl sends is counted as others are.
        unsettled |= matches!(step, Step::Ofctl(command) if command.contains("packet-out"));
        outputs.push(normalise(&output, bed.dir()));
    }
    Transcript(outputs)
}

/// The words of a command line; within '…' blanks are part of a word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' | '\n' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("one at least").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Run ovs-ofctl, for 20 seconds at most; what it printed, and its exit status where that is not 0.
pub(crate) fn run(bed: &Bed, version: Version, command: &str, input: Option<&str>) -> String {
    let mut child = bed
        .command("ovs-ofctl")
        .arg("--timeout=20")
        .args(version.options())
        .args(words(command))
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let mut printed = String::from_utf8_lossy(&stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&stderr));
    match (status.code(), status.signal()) {
        (Some(0), _) => {}
        (Some(code), _) => printed.push_str(&format!("\nexit status {code}\n")),
        (None, signal) => printed.push_str(&format!("\nended by signal {signal:?}\n")),
    }
    printed
}

/// A running `ovs-ofctl monitor`.
struct Monitor<'a> {
    bed: &'a Bed,
    child: Child,
}

impl Monitor<'_> {
    const OUTPUT: &'static str = "monitor.out";
    const CONTROL: &'static str = "monitor.ctl";

    /// Start it; it is set up when this returns.
    fn start<'a>(bed: &'a Bed, version: Version, command: &str) -> Monitor<'a> {
        let _ = fs::remove_file(bed.path(Monitor::CONTROL));
        let output = fs::File::create(bed.path(Monitor::OUTPUT)).unwrap();
        let child = bed
            .command("setpriv")
            .args(["--pdeathsig", "KILL", "ovs-ofctl", "--timeout=60"])
            .arg(format!("--unixctl={}", bed.path(Monitor::CONTROL).display()))
            .args(version.options())
            .args(words(command))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut monitor = Monitor { bed, child };
        let end = Instant::now() + Duration::from_secs(10);
        // It may as well end by itself, with a word why; that is its output then.
        while monitor.child.try_wait().unwrap().is_none() && !monitor.tell("ofctl/barrier") {
            assert!(Instant::now() < end, "{command} does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        monitor
    }

    fn tell(&self, command: &str) -> bool {
        let target = self.bed.path(Monitor::CONTROL).display().to_string();
        let mut appctl = self.bed.command("ovs-appctl");
        let output = appctl.args(["--timeout=10", "--target", &target, command]).output().unwrap();
        output.status.success()
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.bed.path(Monitor::OUTPUT)).unwrap()).into_owned()
    }

    /// What does not come in time is seen missing when the outputs are compared.
    fn wait_for(&self, text: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(5);
        while self.printed().matches(text).count() < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// End it when everything sent to it so far has been printed.
    fn end(mut self) -> String {
        self.tell("ofctl/barrier");
        self.tell("exit");
        self.child.wait().unwrap();
        self.printed()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running tcpdump on the host behind a port.
struct Listener {
    port: &'static str,
    file: std::path::PathBuf,
    running: Running,
}

impl Listener {
    fn start(bed: &Bed, port: &'static str) -> Listener {
        let (file, errors) = (bed.path(&format!("{port}.heard")), bed.path(&format!("{port}.tcpdump")));
        // Of an earlier one.
        let _ = fs::remove_file(&errors);
        let script = format!(
            "exec tcpdump -i eth0 -Q in -l -n -e -t -xx --immediate-mode >{} 2>{}",
            file.display(),
            errors.display()
        );
        let running = bed.host(port).spawn_shell(&script);
        eventually("tcpdump listens", Duration::from_secs(10), || {
            fs::read_to_string(&errors).unwrap_or_default().contains("listening on")
        });
        Listener { port, file, running }
    }

    /// The frames, when there are so many, or after a while.
    fn end(self, count: usize) -> String {
        let frames = || {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            text.lines().filter(|line| !line.starts_with('\t')).count()
        };
        let end = Instant::now() + Duration::from_secs(2);
        while frames() < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        // One too many would come right behind.
        std::thread::sleep(Duration::from_millis(100));
        self.running.stop();
        fs::read_to_string(&self.file).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(
            words("packet-out  br0 'in_port=1 actions=2'"),
            ["packet-out", "br0", "in_port=1 actions=2"]
        );
    }

    #[test]
    fn a_difference_on_purpose_has_to_be_one_and_as_it_is_told() {
        assert_eq!(differs_as_expected("it is", "taken\n", "refused: why\n", &["refused", "why"]), None);
        assert_eq!(differs_as_expected("it is", "taken\n", "", &[]), None);
        for (theirs, ours, expected) in [
            ("taken", "taken", &["taken"][..]),
            ("taken", "refused", &["why"]),
            ("taken", "refused", &[]),
            ("", "", &[]),
        ] {
            assert!(
                differs_as_expected("it is", theirs, ours, expected).is_some(),
                "{theirs} {ours} {expected:?}"
            );
        }
    }
}
