//! The client against bridges that are scripts: what no real one does, or not on demand.

use super::*;
use footbridge_openflow::wire::{Context, Framer, Hello};
use footbridge_openflow::{Field, Match};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;

const V14: Context<'static> = Context { version: Version::V14, tlv: None, table_in_command: true };
/// Long enough for a busy machine, and short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// The far end of one connection.
struct Peer {
    stream: UnixStream,
    framer: Framer,
}

impl Peer {
    fn send(&mut self, message: &Message, xid: u32) {
        self.stream.write_all(&message.encode(V14, xid).unwrap()).unwrap();
    }

    /// The next message; None when the client has hung up.
    fn receive(&mut self) -> Option<(u32, Message)> {
        loop {
            if let Some(bytes) = self.framer.next_message().unwrap() {
                let (header, message) = Message::decode(bytes, V14).unwrap();
                return Some((header.xid, message));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                count => self.framer.push(&buffer[..count]),
            }
        }
    }

    /// Wait until the client goes.
    fn linger(&mut self) {
        while self.stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    }
}

/// A bridge in `directory` that greets one client in OpenFlow 1.4 and then does as `script` says.
fn bridge(directory: &Path, script: impl FnOnce(Peer) + Send + 'static) -> (Address, JoinHandle<()>) {
    let raw = move |mut peer: Peer| {
        peer.send(&Message::Hello(Hello::offering(Versions::of(&[Version::V14]))), 0);
        assert!(matches!(peer.receive(), Some((_, Message::Hello(_)))));
        script(peer);
    };
    raw_bridge(directory, raw)
}

/// One that does as `script` says from the first byte on.
fn raw_bridge(directory: &Path, script: impl FnOnce(Peer) + Send + 'static) -> (Address, JoinHandle<()>) {
    let path = directory.join("br0.mgmt");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        script(Peer { stream, framer: Framer::default() });
    });
    (Address::Unix(path), thread)
}

fn flow(table: u8, priority: u16) -> Flow {
    Flow::new(table, priority, 0, Match::any().with(Field::EthType, 0x0806_u16), Vec::new())
}

/// The error of reading the flows of a bridge that does as `script` says, once it has been greeted.
async fn error_of_flows(patience: Duration, script: impl FnOnce(Peer) + Send + 'static) -> ClientError {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), script);
    let mut client = Client::connect(&address, patience).await.unwrap();
    let error = client.flows(&FlowFilter::default()).await.unwrap_err();
    drop(client);
    thread.join().unwrap();
    error
}

/// A header of a statistics reply of 100 bytes in transaction 2, and nothing of what should follow.
const HALF: [u8; 8] = [5, 19, 0, 100, 0, 0, 0, 2];

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let error = Client::connect(&"unix:/nowhere/br0.mgmt".parse().unwrap(), SHORT).await.err().unwrap();
    let expected = "can't connect to the bridge at unix:/nowhere/br0.mgmt: nothing listens there";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_bridge_that_says_nothing_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = raw_bridge(directory.path(), |mut peer| peer.linger());
    let began = Instant::now();
    let error = Client::connect(&address, SHORT).await.err().unwrap();
    assert!(matches!(error.why, Failure::TimedOut { pending: 0, .. }), "{error}");
    assert!(began.elapsed() < LONG);
    thread.join().unwrap();
}

#[tokio::test]
async fn half_a_message_and_then_nothing_is_an_error_that_says_so() {
    let error = error_of_flows(SHORT, |mut peer| {
        peer.stream.write_all(&HALF).unwrap();
        peer.linger();
    })
    .await;
    assert!(error.to_string().ends_with("did not answer within 1 s, 8 bytes into a message"), "{error}");
}

#[tokio::test]
async fn half_a_message_and_the_end_is_an_error_that_says_so() {
    let error = error_of_flows(LONG, |mut peer| {
        peer.receive();
        peer.stream.write_all(&HALF).unwrap();
    })
    .await;
    assert!(error.to_string().ends_with("it hung up, 8 bytes into a message"), "{error}");
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_can_not_draw_it_out() {
    let began = Instant::now();
    let error = error_of_flows(SHORT, |mut peer| {
        let mut bytes = HALF.into_iter().chain(std::iter::repeat(0));
        while bytes.next().is_some_and(|byte| peer.stream.write_all(&[byte]).is_ok()) {
            std::thread::sleep(SHORT / 8);
        }
    })
    .await;
    assert!(matches!(error.why, Failure::TimedOut { .. }), "{error}");
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn neither_can_messages_of_other_transactions() {
    let began = Instant::now();
    let error = error_of_flows(SHORT, |mut peer| {
        let other = Message::BarrierReply.encode(V14, 77).unwrap();
        while peer.stream.write_all(&other).is_ok() {
            std::thread::sleep(SHORT / 8);
        }
    })
    .await;
    assert!(matches!(error.why, Failure::TimedOut { .. }), "{error}");
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn a_bridge_that_asks_for_echoes_and_never_reads_them_is_given_up() {
    let error = error_of_flows(SHORT, |mut peer| {
        let echo = Message::EchoRequest(vec![7; 60_000]).encode(V14, 1).unwrap();
        while peer.stream.write_all(&echo).is_ok() {}
    })
    .await;
    assert!(matches!(error.why, Failure::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_length_below_the_headers_own_is_no_openflow() {
    let error = error_of_flows(LONG, |mut peer| {
        peer.stream.write_all(&[5, 19, 0, 7, 0, 0, 0, 2]).unwrap();
        peer.linger();
    })
    .await;
    assert!(matches!(error.why, Failure::Framing(_)), "{error}");
}

#[tokio::test]
async fn a_reply_without_an_end_is_given_up_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        let Some((xid, Message::StatsRequest(_))) = peer.receive() else { panic!("no request") };
        let body = ReplyBody::Port(Vec::new());
        let part = Message::StatsReply(StatsReply { more: true, body });
        // The codec writes the end of a reply: this one is not to have any.
        let mut part = part.encode_all(V14, xid).unwrap().remove(0);
        part[11] = 1;
        while peer.stream.write_all(&part).is_ok() {}
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    client.max_reply = 1 << 20;
    let error = client.port_stats().await.unwrap_err();
    assert!(error.to_string().ends_with("its answer is longer than 1048576 bytes"), "{error}");
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn echoes_are_answered_and_other_messages_passed_over_in_the_middle_of_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        let Some((xid, Message::StatsRequest(_))) = peer.receive() else { panic!("no request") };
        peer.send(&Message::EchoRequest(b"there?".to_vec()), 9);
        peer.stream.write_all(&[5, 200, 0, 8, 0, 0, 1, 1]).unwrap();
        assert_eq!(peer.receive(), Some((9, Message::EchoReply(b"there?".to_vec()))));
        peer.send(
            &Message::StatsReply(StatsReply { more: false, body: ReplyBody::PortDesc(Vec::new()) }),
            xid,
        );
        peer.linger();
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    assert_eq!(client.ports().await.unwrap(), []);
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_spoils_no_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        let Some((xid, _)) = peer.receive() else { panic!("no request") };
        let [a, b, c, d] = xid.to_be_bytes();
        peer.stream.write_all(&[5, 19, 0, 17, a, b, c, d, 0, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let Some((xid, _)) = peer.receive() else { panic!("no request") };
        peer.send(
            &Message::StatsReply(StatsReply { more: false, body: ReplyBody::PortDesc(Vec::new()) }),
            xid,
        );
        peer.linger();
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    let error = client.flows(&FlowFilter::default()).await.unwrap_err();
    assert!(matches!(error.why, Failure::Unreadable(_)), "{error}");
    assert_eq!(client.ports().await.unwrap(), []);
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_bridge_that_never_commits_is_not_waited_for_and_the_client_is_of_no_more_use() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        while let Some((xid, message)) = peer.receive() {
            match message {
                Message::BundleControl(open) if open.command == BundleCommand::OpenRequest => {
                    peer.send(&control(BundleCommand::OpenReply), xid);
                }
                Message::BarrierRequest => peer.send(&Message::BarrierReply, xid),
                _ => {}
            }
        }
    });
    let mut client = Client::connect(&address, SHORT).await.unwrap();
    let error = client.bundle(&[FlowMod::Add(flow(0, 1))]).await.unwrap_err();
    assert!(matches!(error.why, Failure::TimedOut { .. }), "{error}");
    let error = client.ports().await.unwrap_err();
    assert!(matches!(error.why, Failure::Lost), "{error}");
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_bridge_that_answers_every_change_at_once_does_not_block_a_long_bundle() {
    const CHANGES: usize = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        while let Some((xid, message)) = peer.receive() {
            match message {
                Message::BundleControl(request) => {
                    let reply = match request.command {
                        BundleCommand::OpenRequest => BundleCommand::OpenReply,
                        BundleCommand::DiscardRequest => BundleCommand::DiscardReply,
                        other => panic!("{other:?} of a bundle that was refused"),
                    };
                    peer.send(&control(reply), xid);
                }
                Message::BundleAdd(add) => {
                    let error = footbridge_openflow::wire::ErrorMessage::about(
                        ErrorCode::FmfcTableFull,
                        &add.message,
                    );
                    peer.send(&Message::Error(error), xid);
                }
                Message::BarrierRequest => peer.send(&Message::BarrierReply, xid),
                other => panic!("{other:?}"),
            }
        }
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    let changes: Vec<FlowMod> = (0..CHANGES).map(|n| FlowMod::Add(flow(3, n as u16))).collect();
    let error = client.bundle(&changes).await.unwrap_err();
    let expected =
        "it refuses change 1 of 20000 (add table=3, priority=0,arp actions=drop): OFPFMFC_TABLE_FULL";
    assert!(error.to_string().ends_with(expected), "{error}");
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_change_that_the_version_has_no_words_for_is_named_and_the_bundle_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        let mut commands = Vec::new();
        while let Some((xid, message)) = peer.receive() {
            let Message::BundleControl(request) = message else { continue };
            commands.push(request.command);
            let reply = match request.command {
                BundleCommand::OpenRequest => BundleCommand::OpenReply,
                _ => BundleCommand::DiscardReply,
            };
            peer.send(&control(reply), xid);
        }
        assert_eq!(commands, [BundleCommand::OpenRequest, BundleCommand::DiscardRequest]);
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    let cookie =
        FlowMod::Modify { filter: FlowFilter::table(4), cookie: Some(1), actions: vec![], or_add: None };
    let error = client.bundle(&[FlowMod::Add(flow(0, 1)), cookie]).await.unwrap_err();
    let expected = "it can't be told of change 2 of 2 (modify table=4 actions=drop): OpenFlow14 cannot express a change of a flow's cookie";
    assert!(error.to_string().ends_with(expected), "{error}");
    drop(client);
    thread.join().unwrap();
}

#[tokio::test]
async fn the_end_of_an_idle_connection_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = bridge(directory.path(), |mut peer| {
        peer.send(&Message::EchoRequest(Vec::new()), 3);
        assert_eq!(peer.receive(), Some((3, Message::EchoReply(Vec::new()))));
    });
    let mut client = Client::connect(&address, LONG).await.unwrap();
    let error = client.closed().await;
    assert!(matches!(error.why, Failure::HungUp { pending: 0 }), "{error}");
    thread.join().unwrap();
}

#[tokio::test]
async fn a_bridge_without_a_version_that_has_bundles_is_named_with_what_it_speaks() {
    let directory = tempfile::tempdir().unwrap();
    let (address, thread) = raw_bridge(directory.path(), |mut peer| {
        peer.send(&Message::Hello(Hello::offering(Versions::of(&[Version::V10]))), 0);
        peer.linger();
    });
    let error = Client::connect(&address, LONG).await.err().unwrap().to_string();
    assert!(error.contains("it speaks OpenFlow10; one of OpenFlow13, OpenFlow14, OpenFlow15"), "{error}");
    thread.join().unwrap();
}

#[tokio::test]
async fn tcp_is_as_good_as_a_unix_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let hello = Hello::offering(Versions::of(&[Version::V14])).encode(0).unwrap();
        stream.write_all(&hello).unwrap();
        while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    });
    assert_eq!(Client::connect(&address, LONG).await.unwrap().version(), Version::V14);
    thread.join().unwrap();
}
