//! A server that acknowledges every change at once and keeps nothing: what `ovs-ofctl` itself takes.

use footbridge_openflow::PortNo;
use footbridge_openflow::wire::stats::{ReplyBody, StatsReply, StatsRequest, TableFeatures, TableStats};
use footbridge_openflow::wire::{
    BundleCommand, BundleControl, Context, Features, Framer, Hello, Message, Version, Versions,
};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// OFPT_FLOW_MOD, and OFPT_BUNDLE_ADD_MESSAGE of 1.4: not even decoded.
const FLOW_MOD: u8 = 14;
const BUNDLE_ADD: u8 = 34;

/// Serve clients at `socket`, each on a thread, for ever.
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || client(stream));
    }
    Ok(())
}

/// Until it hangs up, or says what no client of the benchmark says.
fn client(mut stream: UnixStream) -> Option<()> {
    let mut context = Context { version: Version::V10, tlv: None, table_in_command: true };
    stream.write_all(&Hello::offering(Versions::SPOKEN).encode(0).ok()?).ok()?;
    let (mut framer, mut buffer, mut out) = (Framer::default(), vec![0; 64 << 10], Vec::new());
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        framer.push(&buffer[..read]);
        while let Some(message) = framer.next_message().ok()? {
            if matches!(message.get(1), Some(&(FLOW_MOD | BUNDLE_ADD))) {
                continue;
            }
            let (header, message) = Message::decode(message, context).ok()?;
            if let Message::Hello(hello) = message {
                context.version = Versions::SPOKEN.negotiate(hello.versions())?;
                continue;
            }
            if let Some(reply) = answer(message) {
                reply.encode_all(context, header.xid).ok()?.iter().for_each(|bytes| out.extend(bytes));
            }
        }
        stream.write_all(&out).ok()?;
        out.clear();
    }
}

fn answer(message: Message) -> Option<Message> {
    let stats = |body| Some(Message::StatsReply(StatsReply { more: false, body }));
    match message {
        Message::EchoRequest(data) => Some(Message::EchoReply(data)),
        Message::BarrierRequest => Some(Message::BarrierReply),
        Message::FeaturesRequest => Some(Message::FeaturesReply(Features {
            datapath_id: 1,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0,
            actions: 0,
            ports: Vec::new(),
        })),
        Message::BundleControl(control) => {
            let command = match control.command {
                BundleCommand::OpenRequest => BundleCommand::OpenReply,
                BundleCommand::CloseRequest => BundleCommand::CloseReply,
                BundleCommand::CommitRequest => BundleCommand::CommitReply,
                _ => BundleCommand::DiscardReply,
            };
            Some(Message::BundleControl(BundleControl { command, ..control }))
        }
        Message::StatsRequest(StatsRequest::Table) => {
            let table = |id| TableStats {
                id,
                name: String::new(),
                max_entries: 1_000_000,
                active: 0,
                lookups: 0,
                matches: 0,
            };
            stats(ReplyBody::Table((0..254).map(table).collect()))
        }
        Message::StatsRequest(StatsRequest::TableFeatures { .. }) => {
            let table = |id| TableFeatures { id, name: String::new(), max_entries: 1_000_000 };
            stats(ReplyBody::TableFeatures((0..254).map(table).collect()))
        }
        Message::StatsRequest(StatsRequest::PortDesc(PortNo::NONE)) => stats(ReplyBody::PortDesc(Vec::new())),
        _ => None,
    }
}
