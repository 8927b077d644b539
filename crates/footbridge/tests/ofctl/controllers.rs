//! What a controller is told, as `ovs-ofctl snoop` and a detached monitor show it.

use crate::kernel::eventually;
use crate::normalise::{difference, normalise};
use crate::scenario::{Version, run};
use crate::switches::{Bed, Ours, Ovs, PLAIN, Switch, wait_for_ports};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const FLOW: &str = "add-flow br0 cookie=5,icmp,actions=controller";
const PACKET: &str = concat!(
    "packet-out br0 'in_port=1 packet=",
    "02000000020202000000010108004500001c00000000400166df0a0000010a0000020800f7fd00010001",
    " actions=resubmit(,0)'"
);

/// Start a client of the switch in the background, with its output in a file of the run directory.
fn start(bed: &Bed, words: &[&str], output: &str) -> std::process::Child {
    let file = fs::File::create(bed.path(output)).unwrap();
    bed.command("setpriv")
        .args(["--pdeathsig", "KILL", "ovs-ofctl", "--timeout=60"])
        .args(words)
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn read(bed: &Bed, file: &str) -> String {
    String::from_utf8_lossy(&fs::read(bed.path(file)).unwrap_or_default()).into_owned()
}

/// A hello of OpenFlow 1.5.
const HELLO: [u8; 8] = [6, 0, 0, 8, 0, 0, 0, 1];

/// A controller that says hello and listens, until its thread ends with the process. (Not another Open vSwitch:
/// that answers a packet with an error, and an error with another, for ever.)
fn listening_controller(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut heard = [0; 4096];
                let mut going_on = stream.write_all(&HELLO).is_ok();
                while going_on {
                    going_on = stream.read(&mut heard).is_ok_and(|bytes| bytes > 0);
                }
            });
        }
    });
}

/// The snooped messages of a packet that goes to the controller.
fn snooped(switch: &dyn Switch) -> String {
    let bed = switch.bed();
    assert_eq!(run(bed, Version::V15, FLOW, None), "");
    // Open vSwitch hangs up on those that snoop before its controller is there, and nobody says when it is.
    for _ in 0..50 {
        let mut snoop = start(bed, &["snoop", "br0"], "snooped");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(run(bed, Version::V15, PACKET, None), "");
        std::thread::sleep(Duration::from_millis(200));
        let _ = snoop.kill();
        snoop.wait().unwrap();
        let printed = read(bed, "snooped");
        if printed.contains("PACKET_IN") {
            return normalise(&printed, bed.dir());
        }
    }
    panic!("nothing is snooped: {}", read(bed, "snooped"));
}

pub(crate) fn snoop_shows_what_a_controller_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("controller");
    listening_controller(&path);
    let (ovs, ours) = (Ovs::start_with(PLAIN, Some(&path)), Ours::start_with(PLAIN, Some(&path)));
    wait_for_ports(&ovs);
    wait_for_ports(&ours);
    let (theirs, ours) = (snooped(&ovs), snooped(&ours));
    assert!(theirs.contains("PACKET_IN"), "{theirs}");
    assert_eq!(difference(&theirs, &ours), None);
}

/// A monitor in the background, which writes to the file that it is told to.
fn detached(switch: &dyn Switch) -> String {
    let bed = switch.bed();
    let control = bed.path("detached.ctl");
    let options = ["--detach", "--no-chdir", "--pidfile"];
    let unixctl = format!("--unixctl={}", control.display());
    let mut words = options.to_vec();
    words.extend([unixctl.as_str(), "monitor", "br0", "65534", "watch:"]);
    let mut monitor = start(bed, &words, "detached.err");
    assert!(monitor.wait().unwrap().success(), "{}", read(bed, "detached.err"));
    let target = control.display().to_string();
    let tell = |words: &[&str]| {
        let output =
            bed.command("ovs-appctl").args(["--timeout=10", "--target", &target]).args(words).output();
        output.unwrap().status.success()
    };
    let file = bed.path("detached.out").display().to_string();
    eventually("the monitor takes a file", Duration::from_secs(10), || {
        tell(&["ofctl/set-output-file", &file])
    });
    for command in [FLOW, PACKET, "del-flows br0"] {
        assert_eq!(run(bed, Version::V10, command, None), "");
    }
    eventually("the packet is seen", Duration::from_secs(10), || {
        read(bed, "detached.out").contains("PACKET_IN")
    });
    assert!(tell(&["ofctl/barrier"]) && tell(&["exit"]));
    normalise(&read(bed, "detached.out"), bed.dir())
}

pub(crate) fn a_detached_monitor_writes_to_its_file() {
    let (ovs, ours) = (Ovs::start(PLAIN), Ours::start(PLAIN));
    wait_for_ports(&ovs);
    wait_for_ports(&ours);
    let (theirs, ours) = (detached(&ovs), detached(&ours));
    assert!(theirs.contains("event=ADDED") && theirs.contains("event=DELETED"), "{theirs}");
    assert_eq!(difference(&theirs, &ours), None);
}
