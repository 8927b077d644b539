//! The userspace datapath sleeps when nothing passes. A program of its own: it measures its process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Namespace, host};
use footbridge_datapath::userspace::Userspace;
use footbridge_datapath::{Attachment, Datapath, PortSpec, TunnelProtocol};
use footbridge_openflow::PortNo;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Two devices, a tunnel, and a device that isn't there: under 1 % of a core.
#[test]
fn sleeps_when_idle() {
    if !common::privileged("sleeps_when_idle") {
        return;
    }
    let namespace = Namespace::new("br");
    let _hosts = ["a", "b"].map(|name| host(&namespace, name, "10.0.0.1/24"));
    let mut datapath = namespace.enter(Userspace::start).unwrap();
    let device = |ifname: &str| Attachment::Device { ifname: ifname.to_owned() };
    let ends = [device("a"), device("b"), device("absent"), Attachment::tunnel(TunnelProtocol::Vxlan)];
    for (number, attachment) in (1..).zip(ends) {
        datapath
            .add_port(&PortSpec { number: PortNo(number), name: number.to_string(), attachment })
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap());
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    let spent = used() - before;
    println!("{spent:?} of CPU in 3 s");
    assert!(spent < Duration::from_millis(30), "{spent:?} of CPU in 3 s");
}
