//! What the bridge reports, as rows of replies.

use super::protocol::{ConnectionRow, EndpointRow, FdbRow, FlowRow, PortRow, TrafficRow};
use crate::{FlowReport, PortReport};
use footbridge_datapath::{Attachment, Traffic};
use footbridge_openflow::PortNames;
use footbridge_openflow::text::display_actions;
use footbridge_pipeline::Time;
use footbridge_pipeline::conntrack::tcp::TcpState;
use footbridge_pipeline::conntrack::{Connection, Endpoint, Progress, Tuple};
use footbridge_pipeline::fdb::FdbEntry;

pub(super) fn flow(report: &FlowReport, names: &PortNames, stats: bool) -> FlowRow {
    let flow = report.flow();
    let text = if stats {
        flow.display_with_stats(&report.stats(), names).to_string()
    } else {
        flow.display(names).to_string()
    };
    FlowRow {
        text,
        table: flow.table,
        priority: flow.priority,
        cookie: format!("{:#x}", flow.cookie),
        matching: flow.matching.display(names).to_string(),
        actions: display_actions(&flow.actions, names).to_string(),
        packets: report.packets,
        bytes: report.bytes,
        age: report.age.as_secs_f64(),
        idle: report.idle.as_secs_f64(),
    }
}

pub(super) fn port(port: &PortReport) -> PortRow {
    let (kind, device) = match &port.attachment {
        Attachment::Device { ifname } => ("device", Some(ifname.clone())),
        Attachment::Tunnel { protocol, .. } => (protocol.name(), None),
    };
    PortRow {
        number: port.number.0,
        name: port.name.clone(),
        kind: kind.to_owned(),
        device,
        link: port.link.name().to_owned(),
        rx: traffic(port.rx),
        tx: traffic(port.tx),
        drops: port.drops.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
    }
}

fn traffic(Traffic { packets, bytes, errors }: Traffic) -> TrafficRow {
    TrafficRow { packets, bytes, errors }
}

pub(super) fn fdb(entry: &FdbEntry, names: &PortNames, now: Time) -> FdbRow {
    FdbRow {
        port: entry.port.0,
        name: names.name(entry.port).map(str::to_owned),
        vlan: entry.vlan,
        mac: entry.mac.to_string(),
        age: now.since(entry.seen).as_secs(),
    }
}

pub(super) fn connection(connection: &Connection, now: Time) -> ConnectionRow {
    let Connection { zone, original, mark, replied, expires, .. } = *connection;
    let end = |Endpoint { address, port }| EndpointRow { address, port };
    ConnectionRow {
        text: connection_text(connection),
        zone,
        mark,
        protocol: original.proto,
        source: end(original.src),
        destination: end(original.dst),
        replied,
        expires_in: expires.since(now).as_secs(),
    }
}

/// The connection as `ovs-appctl dpctl/dump-conntrack` writes it (lib/ct-dpif.c of Open vSwitch).
fn connection_text(connection: &Connection) -> String {
    let Connection { zone, original, progress, mark, label, .. } = connection;
    let protocol = match original.proto {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    };
    let mut text =
        format!("{protocol},orig=({}),reply=({})", tuple_text(*original), tuple_text(original.reversed()));
    if *zone != 0 {
        text += &format!(",zone={zone}");
    }
    if *mark != 0 {
        text += &format!(",mark={mark}");
    }
    if *label != 0 {
        text += &format!(",labels={label:#x}");
    }
    if let Progress::Tcp(state) = progress {
        text += &format!(",protoinfo=(state={})", tcp_state(*state));
    }
    text
}

fn tuple_text(Tuple { proto, icmp_type, src, dst }: Tuple) -> String {
    let addresses = format!("src={},dst={}", src.address, dst.address);
    match proto {
        1 | 58 => format!("{addresses},id={},type={icmp_type},code=0", src.port),
        6 | 17 | 132 => format!("{addresses},sport={},dport={}", src.port, dst.port),
        _ => addresses,
    }
}

/// The state's name in Open vSwitch (lib/ct-dpif.h), as it maps those of the kernel's tracker.
fn tcp_state(state: TcpState) -> &'static str {
    match state {
        TcpState::SynSent | TcpState::SynSent2 => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::Established => "ESTABLISHED",
        TcpState::FinWait => "FIN_WAIT_1",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "CLOSED",
    }
}
