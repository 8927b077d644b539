//! The thread's loop, one turn at a time, on a veth pair in a namespace of the test's thread: the
//! namespace ends with the thread, so that nothing is left whatever happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

const PORT: PortNo = PortNo(1);

/// A worker with port 1 on `near`, whose peer is `far`; None where namespaces can't be made.
fn worker(test: &str) -> Option<Worker> {
    if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
        println!("skipped: {test}: {why}");
        return None;
    }
    sh("ip link add near type veth peer name far
        ip link set near up
        ip addr add 10.0.0.2/24 dev far
        ip link set far up
        ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev far");
    let (_commands, receiver) = std::sync::mpsc::channel();
    let (mut worker, _waker) = Worker::new(receiver, crate::Flows::default()).unwrap();
    let attachment = Attachment::Device { ifname: "near".to_owned() };
    worker.add_port(&PortSpec { number: PORT, name: "near".to_owned(), attachment }).unwrap();
    Some(worker)
}

/// Commands in the thread's namespace.
fn sh(script: &str) {
    let output = Command::new("sh").args(["-e", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

/// Serve the port as long as it says that it is ready.
fn drain(worker: &mut Worker) {
    for _ in 0..100 {
        if !worker.ports[&PORT].ready {
            return;
        }
        worker.serve(PORT);
    }
    unreachable!("a socket without frames stays ready");
}

#[test]
fn frames_behind_a_link_flap_do_not_wait_for_the_next_frame() {
    let Some(mut worker) = worker("frames_behind_a_link_flap_do_not_wait_for_the_next_frame") else { return };
    drain(&mut worker);
    let before = worker.ports[&PORT].rx.packets;
    // No answer comes, and ping says so.
    sh("ip link set near down; ip link set near up
        ip neigh replace 10.0.0.9 lladdr 02:00:00:00:00:09 dev far
        ping -q -c 3 -i 0.01 -W 0.1 10.0.0.9 || true");
    // As epoll tells it, once for the error and all frames.
    worker.ports.get_mut(&PORT).unwrap().ready = true;
    drain(&mut worker);
    assert!(worker.ports[&PORT].rx.packets >= before + 3, "{:?}", worker.ports[&PORT].rx);
    assert_eq!(worker.ports[&PORT].link(), Link::Up);
}

#[test]
fn a_device_that_goes_leaves_its_port_at_rest() {
    let Some(mut worker) = worker("a_device_that_goes_leaves_its_port_at_rest") else { return };
    sh("ip link del dev near");
    worker.ports.get_mut(&PORT).unwrap().ready = true;
    drain(&mut worker);
    assert_eq!(worker.ports[&PORT].link(), Link::Absent);
}

#[test]
fn an_error_that_stays_does_not_keep_the_thread_busy() {
    let Some(mut worker) = worker("an_error_that_stays_does_not_keep_the_thread_busy") else { return };
    drain(&mut worker);
    // A device whose socket was taken for one that can't receive at all.
    let port = worker.ports.get_mut(&PORT).unwrap();
    let End::Device(device) = &mut port.end else { unreachable!("it is a device") };
    device.replace_socket(std::fs::File::open("/dev/null").unwrap().into());
    let before = port.rx.errors;
    port.ready = true;
    drain(&mut worker);
    assert_eq!(worker.ports[&PORT].rx.errors - before, u64::from(ERRORS));
}
