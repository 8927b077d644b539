//! The control socket, with well-behaved clients and others. Needs no privileges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_datapath::userspace::Userspace;
use footbridge_datapath::{Attachment, PortSpec};
use footbridge_openflow::PortNo;
use footbridge_openflow::text::parse_flow;
use footbridge_switch::control::{Client, ClientError, MAX_REQUEST, Reply, Request, Server, ServerError};
use footbridge_switch::{Bridge, FlowMod};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A bridge with two flows and a port, served in a runtime of its own.
struct Bed {
    runtime: Option<tokio::runtime::Runtime>,
    bridge: Arc<Bridge>,
    dir: TempDir,
}

impl Bed {
    fn new() -> Bed {
        let bridge = Arc::new(Bridge::new("br0", Box::new(Userspace::start().unwrap())).unwrap());
        let attachment = Attachment::Device { ifname: "no such device".to_owned() };
        bridge.add_port(PortSpec { number: PortNo(3), name: "pod-1".to_owned(), attachment }).unwrap();
        let flow = |line| FlowMod::Add(parse_flow(line, &bridge.port_names()).unwrap());
        bridge
            .bundle(&[
                flow(
                    "cookie=0x1030000000000,table=10,priority=200,ip,in_port=\"pod-1\" actions=resubmit(,30)",
                ),
                flow("cookie=0x1000000000000,table=20,priority=0 actions=drop"),
            ])
            .unwrap();
        Bed {
            runtime: Some(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()),
            bridge,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn serving() -> Bed {
        let mut bed = Bed::new();
        let runtime = bed.runtime.take().unwrap();
        let server = bed.serve(&runtime).unwrap();
        std::thread::spawn(move || runtime.block_on(server.run()));
        bed
    }

    fn serve(&self, runtime: &tokio::runtime::Runtime) -> Result<Server, ServerError> {
        let _inside = runtime.enter();
        Server::bind(&self.path(), Arc::clone(&self.bridge))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("br0.ctl")
    }

    fn client(&self) -> Client {
        Client::connect(&self.path()).unwrap()
    }

    fn raw(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.path()).unwrap())
    }

    fn answers(&self) -> bool {
        matches!(self.client().ask(&Request::Status {}), Ok(Reply::Status(_)))
    }
}

fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn answers_what_the_command_line_prints() {
    let bed = Bed::serving();
    let mut client = bed.client();
    let Reply::Status(status) = client.ask(&Request::Status {}).unwrap() else { panic!("status") };
    assert_eq!((&*status.bridge, &*status.datapath), ("br0", "userspace"));
    assert_eq!((status.pid, status.flows, status.ports), (std::process::id(), 2, 1));
    let mut flows = |filter: &str, no_names, stats| {
        let request = Request::Flows { filter: filter.to_owned(), no_names, stats };
        let Reply::Flows { flows } = client.ask(&request).unwrap() else { panic!("flows") };
        flows.into_iter().map(|row| row.text).collect::<Vec<_>>()
    };
    assert_eq!(
        flows("table=10", false, false),
        [" cookie=0x1030000000000, table=10, priority=200,ip,in_port=\"pod-1\" actions=resubmit(,30)"]
    );
    assert!(flows("table=10,ip", true, false)[0].contains(",in_port=3 "));
    assert!(flows("", false, true)[1].contains("table=20, n_packets=0, n_bytes=0, "));
    let Reply::Ports { ports } = client.ask(&Request::Ports {}).unwrap() else { panic!("ports") };
    assert_eq!((ports[0].number, &*ports[0].name, &*ports[0].link), (3, "pod-1", "absent"));
    assert_eq!(client.ask(&Request::Fdb {}).unwrap(), Reply::Fdb { entries: vec![] });
    let flush = client.ask(&Request::FlushConntrack { zone: Some(1) }).unwrap();
    assert_eq!(flush, Reply::FlushConntrack { flushed: 0 });
}

#[test]
fn says_what_is_wrong_with_a_filter_and_goes_on() {
    let bed = Bed::serving();
    let mut client = bed.client();
    let request = Request::Flows { filter: "table=ten".to_owned(), no_names: false, stats: false };
    let error = client.ask(&request).unwrap_err();
    assert_eq!(error.to_string(), "'table=ten' in the flow filter: a table is a number from 0 to 255");
    assert!(client.ask(&Request::Status {}).is_ok());
}

#[test]
fn answers_garbage_with_an_error_and_goes_on() {
    let bed = Bed::serving();
    let mut raw = bed.raw();
    for garbage in [
        "\n",
        "{}\n",
        "\u{0}\u{7f}\n",
        "[[[[\n",
        "{\"request\":\"flows\",\"color\":1}\n",
        "{\"request\":\"no\"}\n",
    ] {
        raw.get_mut().write_all(garbage.as_bytes()).unwrap();
        assert!(line(&mut raw).starts_with("{\"reply\":\"error\",\"message\":\"not a request: "));
    }
    raw.get_mut().write_all(b"\xff\xfe\n{\"request\":\"status\"}\n").unwrap();
    assert!(line(&mut raw).contains("\"error\""));
    assert!(line(&mut raw).contains("\"status\""));
}

#[test]
fn a_line_that_never_ends_is_refused() {
    let bed = Bed::serving();
    let mut raw = bed.raw();
    raw.get_mut().write_all(&vec![b'x'; MAX_REQUEST + 1]).unwrap();
    assert!(line(&mut raw).contains("longer than 65536 bytes"));
    assert_eq!(raw.read(&mut [0]).unwrap(), 0, "and hung up");
}

#[test]
fn half_a_line_and_silence_hurt_nobody() {
    let bed = Bed::serving();
    let mut half = bed.raw();
    half.get_mut().write_all(b"{\"request\":").unwrap();
    let _silent = bed.raw();
    // One that never reads what it asked for.
    let mut deaf = bed.raw();
    let _ = deaf.get_mut().set_write_timeout(Some(Duration::from_millis(100)));
    while deaf.get_mut().write_all(b"{\"request\":\"flows\"}\n").is_ok() {}
    assert!(bed.answers());
    half.get_mut().write_all(b"\"status\"}\n").unwrap();
    assert!(line(&mut half).contains("\"status\""));
    drop(half);
    let mut gone = bed.raw();
    gone.get_mut().write_all(b"{\"request\":\"sta").unwrap();
    drop(gone);
    assert!(bed.answers());
}

#[test]
fn two_hundred_clients_are_served_at_once() {
    let bed = Bed::serving();
    let mut clients: Vec<Client> = (0..200).map(|_| bed.client()).collect();
    let start = Instant::now();
    for client in &mut clients {
        assert!(client.ask(&Request::Flows { filter: String::new(), no_names: false, stats: true }).is_ok());
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let bed = Bed::new();
    let runtime = bed.runtime.as_ref().unwrap();
    let server = bed.serve(runtime).unwrap();
    let mode = std::fs::metadata(bed.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert_eq!(std::fs::read_dir(bed.dir.path()).unwrap().count(), 0);
}

#[test]
fn replaces_a_dead_socket_and_refuses_a_live_one() {
    let bed = Bed::new();
    let runtime = bed.runtime.as_ref().unwrap();
    drop(UnixListener::bind(bed.path()).unwrap());
    let server = bed.serve(runtime).unwrap();
    let second = bed.serve(runtime).err().unwrap();
    assert!(second.to_string().starts_with("another bridge is running at "), "{second}");
    assert!(bed.path().exists());
    drop(server);
    std::fs::write(bed.path(), "a file").unwrap();
    assert!(matches!(bed.serve(runtime), Err(ServerError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(bed.path()).unwrap(), "a file");
}

#[test]
fn a_client_says_that_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("br0.ctl");
    let expected = format!("no bridge is listening at {}: is the agent running?", path.display());
    assert_eq!(Client::connect(&path).err().unwrap().to_string(), expected);
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(Client::connect(&path).err().unwrap().to_string(), expected);
}

#[test]
fn a_client_gives_up_on_a_bridge_that_hangs_or_talks_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("br0.ctl");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = Client::connect_with_patience(&path, Duration::from_millis(200)).unwrap();
    let error = client.ask(&Request::Status {}).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.write_all(b"hello\n").unwrap();
    let error = client.ask(&Request::Status {}).unwrap_err();
    assert!(matches!(error, ClientError::NotAReply { .. }), "{error}");
    drop(accepted);
    let error = client.ask(&Request::Status {}).unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}
