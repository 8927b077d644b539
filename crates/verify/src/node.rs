//! Who is where: which port has which addresses, and which peers there are.
//!
//! Taken from what a dump says twice: its forwarding tables say what the guard and the responder say
//! too, so that neither can be wrong without the other telling. Or given, by whoever knows better.

use footbridge_openflow::{Action, Field, Flow, MacAddr, PortNo, Subfield};
use footbridge_pipeline::Pipeline;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The tables of a node's bridge, and its ports by their offices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Where packets come in.
    pub classifier: u8,
    /// Where senders are checked.
    pub guard: u8,
    /// Where ARP is answered.
    pub responder: u8,
    /// Where IP goes from the guard.
    pub conntrack: u8,
    /// Where addresses are routed.
    pub l3: u8,
    /// Where MAC addresses get their ports.
    pub l2: u8,
    /// The tables of network policies: what they drop is dropped rightly.
    pub policies: Vec<u8>,
    /// What each table does with a packet that nothing else takes; None for no flow at all.
    pub misses: Vec<(u8, Option<Vec<Action>>)>,
    /// Where the number of the port that a packet goes to stands.
    pub out_port: Subfield,
    /// The gateway's port.
    pub gateway: PortNo,
    /// The tunnel's port.
    pub tunnel: PortNo,
    /// The MAC of everything that crosses a tunnel.
    pub virtual_mac: MacAddr,
}

/// A port and its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The port.
    pub port: PortNo,
    /// Its MAC.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its pods' subnet: the lowest address.
    pub network: Ipv4Addr,
    /// The subnet's mask.
    pub mask: Ipv4Addr,
    /// Where its tunnel ends.
    pub tunnel: Ipv4Addr,
}

impl Peer {
    /// Its gateway: the first address after the network's.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).wrapping_add(1))
    }
}

/// Who is where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Ports and their addresses, the gateway's included; sorted.
    pub owners: Vec<Owner>,
    /// The other nodes; sorted.
    pub peers: Vec<Peer>,
}

impl Node {
    /// What the forwarding tables of a bridge say. None where they are none of this layout.
    pub fn of(pipeline: &Pipeline, layout: &Layout) -> Option<Node> {
        let ports: BTreeMap<MacAddr, PortNo> = pipeline
            .table(layout.l2)
            .filter_map(|entry| {
                let mac = entry.flow.matching.exact(Field::EthDst)?;
                let port = written(&entry.flow, layout.out_port)?;
                Some((MacAddr::from(mac), PortNo(port as u32)))
            })
            .collect();
        let mut node = Node::default();
        for entry in pipeline.table(layout.l3) {
            let (value, mask) = entry.flow.matching.get(Field::NwDst);
            let (value, mask) = (value as u32, mask as u32);
            let Some(mac) = written(&entry.flow, Subfield::whole(Field::EthDst)) else { continue };
            let tunnel = written(&entry.flow, Subfield::whole(Field::TunDst));
            match tunnel {
                Some(tunnel) if mask != 0 => node.peers.push(Peer {
                    network: Ipv4Addr::from(value),
                    mask: Ipv4Addr::from(mask),
                    tunnel: Ipv4Addr::from(tunnel as u32),
                }),
                None if mask == u32::MAX => {
                    let mac = MacAddr::from(mac);
                    if let Some(port) = ports.get(&mac) {
                        node.owners.push(Owner { port: *port, mac, address: Ipv4Addr::from(value) });
                    }
                }
                _ => {}
            }
        }
        node.owners.sort_unstable();
        node.owners.dedup();
        node.peers.sort_unstable();
        node.peers.dedup();
        (!node.owners.is_empty()).then_some(node)
    }
}

/// What a flow's actions leave in a field, where that is a constant.
fn written(flow: &Flow, part: Subfield) -> Option<u128> {
    let wanted = part.mask();
    let writes =
        flow.actions.iter().filter_map(Action::field_write).filter(|write| write.field == part.field);
    let (value, mask) = writes.fold((0, 0), |(value, mask), write| {
        ((value & !write.mask) | (write.value & write.mask), mask | write.mask)
    });
    (mask & wanted == wanted).then_some((value & wanted) >> part.offset)
}
