//! What is claimed of a node's bridge: guard, responder, misses, delivery.

use crate::bdd::Bdd;
use crate::explore::{Event, What};
use crate::image::{Bit, Image, differ_within};
use crate::node::{Layout, Node, Peer};
use crate::program::is_miss;
use crate::prove::{Bridge, World, from, leaves};
use crate::report::{Claim, Counterexample, Verdict};
use crate::space::Var;
use footbridge_openflow::{Action, Field, Key, Match, PortNo};
use footbridge_pipeline::conntrack::state;
use std::collections::{BTreeMap, BTreeSet};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Sets of packets that the claims are about.
struct Own {
    tunnel: Bdd,
    arp: Bdd,
    /// ARP whose sender is its port's.
    own_arp: Bdd,
    /// IP whose sender is its port's; from the gateway, any.
    own_ip: Bdd,
    /// What gets past the guard, or leaves otherwise.
    entered: Bdd,
    /// Own requests for a peer's gateway.
    asked: Bdd,
}

/// Whether each pod here reaches those elsewhere, which stand as peers of one address each, and is reached.
pub(crate) fn reachable(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    layout: &Layout,
    node: &Node,
    elsewhere: &[Peer],
) -> Verdict {
    let node = Node { owners: node.owners.clone(), peers: elsewhere.to_vec() };
    let own = Own::of(bridge, world, layout, &node);
    delivered(bridge, world, layout, &node, &own)
}

/// Ask everything that is asked of a node.
pub(crate) fn of_node(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    layout: &Layout,
    node: &Node,
) -> Vec<(Claim, Verdict)> {
    let own = Own::of(bridge, world, layout, node);
    vec![
        (Claim::ArpSender, arp_sender(bridge, world, layout, &own)),
        (Claim::OwnArp, own_arp(bridge, world, layout, &own)),
        (Claim::IpSender, ip_sender(bridge, world, layout, &own)),
        (Claim::OwnIp, own_ip(bridge, world, layout, &own)),
        (Claim::GuardSilent, guard_silent(bridge, world, layout)),
        (Claim::Once, once(bridge, world)),
        (Claim::Answered, answered(bridge, world, layout, &own)),
        (Claim::StaysHere, stays_here(bridge, world, &own)),
        (Claim::AnswersNoOther, answers_no_other(bridge, world, &own)),
        (Claim::Switched, switched(bridge, world, layout, &own)),
        (Claim::Delivered, delivered(bridge, world, layout, node, &own)),
        (Claim::Misses, misses(bridge, world, layout)),
    ]
}

fn arp() -> Match {
    Match::any().with(Field::EthType, ARP)
}

fn ip() -> Match {
    Match::any().with(Field::EthType, IPV4)
}

/// What goes to a peer's pods.
fn to_peer(peer: &Peer) -> Match {
    ip().with_masked(Field::NwDst, u32::from(peer.network), u32::from(peer.mask))
}

pub(crate) fn verdict(found: Option<Counterexample>) -> Verdict {
    found.map_or(Verdict::Proved, |found| Verdict::Refuted(vec![found], 0))
}

impl Own {
    fn of(bridge: &Bridge<'_>, world: &mut World, layout: &Layout, node: &Node) -> Own {
        let union = |world: &mut World, matches: Vec<Match>| {
            let World { sets, space } = world;
            let all = space.any(sets, matches);
            sets.and(all, bridge.valid)
        };
        let of_port = |matching: Match, port: PortNo| matching.with(Field::InPortOxm, port.0);
        let own_arp = node.owners.iter().map(|owner| {
            of_port(arp(), owner.port)
                .with(Field::ArpSpa, u32::from(owner.address))
                .with(Field::ArpSha, owner.mac)
        });
        let own_arp = union(world, own_arp.collect());
        let pods = node.owners.iter().filter(|owner| owner.port != layout.gateway);
        let own_ip = pods.map(|owner| {
            of_port(ip(), owner.port)
                .with(Field::NwSrc, u32::from(owner.address))
                .with(Field::EthSrc, owner.mac)
        });
        let own_ip = own_ip.chain([of_port(ip(), layout.gateway)]).collect();
        let own_ip = union(world, own_ip);
        let requests = node
            .peers
            .iter()
            .map(|peer| arp().with(Field::ArpOp, REQUEST).with(Field::ArpTpa, u32::from(peer.gateway())));
        let requests = union(world, requests.collect());
        // Whatever gets further gets first to where these two tables send it.
        let own = [layout.classifier, layout.guard];
        let mut beyond: Vec<u8> = own.iter().flat_map(|table| bridge.program.sends_to(*table)).collect();
        beyond.retain(|table| !own.contains(table));
        let arrived: Vec<Bdd> = beyond.into_iter().map(|table| bridge.arrived(table)).collect();
        let arrived = world.sets.union(arrived);
        let left = bridge.union(world, |event| leaves(event) && is_of(bridge, event, &own));
        Own {
            tunnel: bridge.set(world, &from(layout.tunnel)),
            arp: bridge.set(world, &arp()),
            asked: world.sets.and(own_arp, requests),
            entered: world.sets.or(arrived, left),
            own_arp,
            own_ip,
        }
    }
}

/// Whether it is the doing of a flow of these tables.
fn is_of(bridge: &Bridge<'_>, event: &Event, tables: &[u8]) -> bool {
    let table = event.flow.map(|place| bridge.program.flows[place].entry.flow.table);
    table.is_some_and(|table| tables.contains(&table))
}

fn arp_sender(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let sets = &mut world.sets;
    let entered = sets.and(own.entered, own.arp);
    let entered = sets.without(entered, own.tunnel);
    let alien = sets.without(entered, own.own_arp);
    let guard = (layout.classifier, layout.guard);
    let mut found =
        bridge.refute(world, alien, "ARP with another's sender gets past the guard", |trace, _| {
            trace.left() || trace.lookups.iter().any(|(table, _)| *table != guard.0 && *table != guard.1)
        });
    if found.is_none() {
        let past = |table: &u8| ![layout.classifier, layout.guard, layout.responder].contains(table);
        let past: Vec<(u8, Bdd)> = bridge
            .found
            .arrived
            .iter()
            .filter(|(table, _)| past(table))
            .map(|(table, set)| (*table, *set))
            .collect();
        for (table, arrived) in past {
            let astray = world.sets.and(arrived, own.arp);
            let astray = world.sets.without(astray, own.tunnel);
            let what = format!("ARP gets to table {table}, which is none for it");
            found = found.or_else(|| bridge.refute(world, astray, what, |trace, _| trace.came_to(table)));
        }
    }
    if found.is_none() {
        let of_tunnel = world.sets.and(own.arp, own.tunnel);
        let tunnelled = bridge.union_within(world, of_tunnel, leaves);
        found = bridge.refute(world, tunnelled, "ARP from a tunnel is let in", |trace, _| trace.left());
    }
    verdict(found)
}

fn own_arp(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let lost = world.sets.without(own.own_arp, bridge.arrived(layout.responder));
    let what = format!("a port's own ARP does not get to table {}", layout.responder);
    verdict(bridge.refute(world, lost, what, |trace, _| !trace.came_to(layout.responder)))
}

fn ip_sender(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let sets = &mut world.sets;
    let entered = sets.without(own.entered, own.arp);
    let entered = sets.without(entered, own.tunnel);
    let alien = sets.without(entered, own.own_ip);
    let guard = (layout.classifier, layout.guard);
    let alien =
        bridge.refute(world, alien, "a packet that is not its port's gets past the guard", |trace, _| {
            trace.left() || trace.lookups.iter().any(|(table, _)| *table != guard.0 && *table != guard.1)
        });
    let responder = layout.responder;
    let astray = world.sets.without(bridge.arrived(responder), own.arp);
    let what = format!("what is no ARP gets to table {responder}");
    verdict(alien.or_else(|| bridge.refute(world, astray, what, |trace, _| trace.came_to(responder))))
}

fn own_ip(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let tunnelled = bridge.set(world, &ip().with(Field::InPortOxm, layout.tunnel.0));
    let own = world.sets.or(own.own_ip, tunnelled);
    let lost = world.sets.without(own, bridge.arrived(layout.conntrack));
    let what = format!("a port's own packet does not get to table {}", layout.conntrack);
    verdict(bridge.refute(world, lost, what, |trace, _| !trace.came_to(layout.conntrack)))
}

fn guard_silent(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout) -> Verdict {
    let own = [layout.classifier, layout.guard];
    let sent = bridge.union(world, |event| leaves(event) && is_of(bridge, event, &own));
    let what = "a packet is sent by the classifier or the guard";
    verdict(bridge.refute(world, sent, what, |trace, _| trace.left()))
}

fn once(bridge: &mut Bridge<'_>, world: &mut World) -> Verdict {
    let again: Vec<(u8, Bdd)> = bridge.found.again.iter().map(|(table, set)| (*table, *set)).collect();
    let found = again.into_iter().find_map(|(table, set)| {
        bridge.refute(world, set, format!("a packet comes to table {table} twice"), |trace, _| {
            trace.lookups.iter().filter(|(number, _)| *number == table).count() > 1
        })
    });
    let doubled = bridge.found.doubled;
    verdict(found.or_else(|| {
        bridge.refute(world, doubled, "a packet leaves twice by the same port", |trace, _| {
            let ports: BTreeSet<PortNo> = trace.outputs.iter().map(|(port, _)| *port).collect();
            ports.len() < trace.outputs.len()
        })
    }))
}

/// Packets sent back in answer to ARP, and sets of some for which each answer is wrong.
fn answers(bridge: &Bridge<'_>, world: &mut World, layout: &Layout) -> (Bdd, Vec<Bdd>) {
    let known = |field: Field, value: u128| -> Vec<Bit> {
        (0..field.info().width).map(|bit| Bit::Known(value >> bit & 1 == 1)).collect()
    };
    let mac = u128::from(layout.virtual_mac);
    let asked = |field: Field| bridge.came.field(field);
    let expected = [
        (Field::EthDst, asked(Field::EthSrc)),
        (Field::EthSrc, known(Field::EthSrc, mac)),
        (Field::ArpOp, known(Field::ArpOp, REPLY.into())),
        (Field::ArpSha, known(Field::ArpSha, mac)),
        (Field::ArpSpa, asked(Field::ArpTpa)),
        (Field::ArpTha, asked(Field::ArpSha)),
        (Field::ArpTpa, asked(Field::ArpSpa)),
        (Field::VlanTci, asked(Field::VlanTci)),
    ];
    let (mut answered, mut wrong) = (Vec::new(), Vec::new());
    for event in bridge.found.events.iter().filter(|event| event.what == What::Back) {
        let World { sets, space } = world;
        answered.push(event.packets);
        let differing = expected
            .iter()
            .map(|(field, bits)| differ_within(sets, space, event.packets, &event.image.field(*field), bits));
        wrong.extend(differing.filter(|set| !set.is_none()));
    }
    (world.sets.union(answered), wrong)
}

fn answered(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let (right, wrong) = answers(bridge, world, layout);
    let mac = u128::from(layout.virtual_mac);
    for wrong in wrong {
        let wrongly = world.sets.and(own.asked, wrong);
        let what = "the answer to a request for a peer's gateway is wrong";
        let found = bridge.refute(world, wrongly, what, |trace, asked| {
            trace.outputs.iter().any(|(_, key)| {
                let swapped = |to: Field, of: Field| key.get(to) == asked.key.get(of);
                key.get(Field::ArpOp) != REPLY.into()
                    || key.get(Field::ArpSha) != mac
                    || key.get(Field::EthSrc) != mac
                    || !swapped(Field::EthDst, Field::EthSrc)
                    || !swapped(Field::ArpSpa, Field::ArpTpa)
                    || !swapped(Field::ArpTha, Field::ArpSha)
                    || !swapped(Field::ArpTpa, Field::ArpSpa)
                    || !swapped(Field::VlanTci, Field::VlanTci)
            })
        });
        if found.is_some() {
            return verdict(found);
        }
    }
    let silent = world.sets.without(own.asked, right);
    verdict(bridge.refute(world, silent, "a request for a peer's gateway is not answered", |trace, asked| {
        let port = asked.key.get(Field::InPortOxm);
        trace.outputs.iter().all(|(out, _)| u128::from(out.0) != port)
    }))
}

fn stays_here(bridge: &mut Bridge<'_>, world: &mut World, own: &Own) -> Verdict {
    let elsewhere = bridge.union_within(world, own.asked, |event| leaves(event) && event.what != What::Back);
    verdict(bridge.refute(
        world,
        elsewhere,
        "a request for a peer's gateway goes on to others",
        |trace, asked| {
            let port = asked.key.get(Field::InPortOxm);
            !trace.controllers.is_empty() || trace.outputs.iter().any(|(out, _)| u128::from(out.0) != port)
        },
    ))
}

fn answers_no_other(bridge: &mut Bridge<'_>, world: &mut World, own: &Own) -> Verdict {
    // By IN_PORT, or to its port by number where in_port was written.
    let mut back = bridge.union(world, |event| event.what == What::Back);
    for (port, sent) in sent(bridge, world) {
        let own_port = bridge.set(world, &from(port));
        let sent = world.sets.and(sent, own_port);
        back = world.sets.or(back, sent);
    }
    let other = world.sets.without(back, own.asked);
    let what = "the bridge sends back what is no request for a peer's gateway";
    verdict(bridge.refute(world, other, what, |trace, asked| {
        let port = asked.key.get(Field::InPortOxm);
        trace.outputs.iter().any(|(out, _)| u128::from(out.0) == port)
    }))
}

/// Whether a packet leaves as it came, but for these fields.
fn is_unchanged_but(image: &Image, changed: &[Field]) -> bool {
    Field::all()
        .filter(|field| footbridge_pipeline::packet::is_packet_field(*field) && !changed.contains(field))
        .all(|field| image.is_as_came(field))
        && (image.ttl_less == 0 || changed.contains(&Field::NwTtl))
}

/// Whether a packet leaves as it came, but for a tag that says nothing.
fn is_unchanged(image: &Image) -> bool {
    is_unchanged_but(image, &[Field::VlanTci, Field::VlanVid, Field::VlanPcp])
}

fn switched(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, own: &Own) -> Verdict {
    let normal = bridge.union(world, |event| event.what == What::Normal && is_unchanged(&event.image));
    let nowhere = bridge.union(world, |event| {
        use footbridge_pipeline::DropReason::{NormalNoPort, ReservedMulticast};
        matches!(event.what, What::Lost(NormalNoPort | ReservedMulticast))
    });
    let others = world.sets.without(own.own_arp, own.asked);
    let others = world.sets.without(others, nowhere);
    let lost = world.sets.without(others, normal);
    // A bridge without learned addresses floods.
    let ports: Vec<PortNo> =
        bridge.ports.iter().map(|(port, _)| port).filter(|port| *port != layout.tunnel).collect();
    let found =
        bridge.refute(world, lost, "ARP that the bridge has no answer to is not switched", |trace, asked| {
            let from = asked.key.get(Field::InPortOxm);
            let flooded: Vec<PortNo> = trace.outputs.iter().map(|(port, _)| *port).collect();
            let others: Vec<PortNo> =
                ports.iter().copied().filter(|port| u128::from(port.0) != from).collect();
            // Sent to the same ports by other actions than NORMAL, it is not switched either.
            !trace.switched
                || flooded != others
                || trace.outputs.iter().any(|(_, key)| !same_arp(key, &asked.key))
        });
    if found.is_some() {
        return verdict(found);
    }
    let also = bridge.union_within(world, others, |event| {
        leaves(event) && !(event.what == What::Normal && is_unchanged(&event.image))
    });
    verdict(bridge.refute(world, also, "ARP that should be switched goes elsewhere too", |trace, asked| {
        !trace.controllers.is_empty()
            || trace.outputs.len() >= ports.len()
            || trace.outputs.iter().any(|(_, key)| !same_arp(key, &asked.key))
    }))
}

/// Whether it says the same.
fn same_arp(key: &Key, came: &Key) -> bool {
    [Field::ArpSpa, Field::ArpSha, Field::ArpTpa, Field::ArpOp, Field::EthSrc, Field::EthDst]
        .iter()
        .all(|field| key.get(*field) == came.get(*field))
}

/// The packets that are sent to each port by its number.
fn sent(bridge: &Bridge<'_>, world: &mut World) -> BTreeMap<PortNo, Bdd> {
    let mut sent: BTreeMap<PortNo, Vec<Bdd>> = BTreeMap::new();
    for event in &bridge.found.events {
        if let What::Sent(port) = event.what {
            sent.entry(port).or_default().push(event.packets);
        }
    }
    sent.into_iter().map(|(port, sets)| (port, world.sets.union(sets))).collect()
}

/// Packets that a policy drops.
fn dropped_by_policy(bridge: &Bridge<'_>, world: &mut World, layout: &Layout) -> Bdd {
    let drops = |place: usize| {
        let flow = &bridge.program.flows[place].entry.flow;
        layout.policies.contains(&flow.table) && flow.actions.is_empty()
    };
    // The flows of a unit do the same: what it takes as one need not be told apart.
    let of_flows =
        bridge.found.hits.iter().enumerate().filter(|(place, _)| drops(*place)).map(|(_, hits)| *hits);
    let of_units =
        bridge.found.unit_hits.iter().filter(|(unit, _)| {
            bridge.program.units[**unit].members.first().is_some_and(|first| drops(*first))
        });
    let mut hits: Vec<Bdd> = of_flows.chain(of_units.map(|(_, hits)| *hits)).collect();
    // Maps give them in any order.
    hits.sort_unstable();
    world.sets.union(hits)
}

/// Connections whose first packet this is, as ct() finds them.
pub(crate) fn new_connections(world: &mut World) -> Bdd {
    let place = Field::CtState.info().location;
    let mut literals = [state::NEW, state::EST, state::REL, state::RPL, state::INV]
        .map(|flag| (flag, flag == state::NEW))
        .into_iter()
        .map(|(flag, value)| {
            let bit = place.shift + flag.trailing_zeros() as u8;
            (world.space.level(Var::of_connection(place.word, bit, 0)), value)
        })
        .collect();
    world.sets.cube(&mut literals)
}

/// Packets whose TTL can be decremented.
pub(crate) fn lives(bridge: &Bridge<'_>, world: &mut World) -> Bdd {
    let low = world.space.values(&mut world.sets, Field::NwTtl, [0, 1]);
    world.sets.without(bridge.valid, low)
}

fn delivered(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout, node: &Node, own: &Own) -> Verdict {
    let dropped = dropped_by_policy(bridge, world, layout);
    let new = new_connections(world);
    let lives = lives(bridge, world);
    let calls = world.sets.and(new, lives);
    // By each port: what leaves there, and what should.
    let leaving = sent(bridge, world);
    // Who may send, narrowed once; each receiver then only adds its own address on top.
    let senders = world.sets.and(own.own_ip, calls);
    let from_peers = world.sets.and(own.tunnel, calls);
    let mut wanted: BTreeMap<PortNo, Vec<Bdd>> = BTreeMap::new();
    for owner in &node.owners {
        let World { sets, space } = world;
        let to = ip().with(Field::NwDst, u32::from(owner.address));
        let direct = space.set(sets, &to.clone().with(Field::EthDst, owner.mac));
        let direct = sets.and(direct, senders);
        let own_port = space.set(sets, &from(owner.port));
        let direct = sets.without(direct, own_port);
        let routed = space.set(sets, &to.with(Field::EthDst, layout.virtual_mac));
        let routed = sets.and(routed, from_peers);
        wanted.entry(owner.port).or_default().push(sets.or(direct, routed));
    }
    let to_peers = world.space.any(&mut world.sets, node.peers.iter().map(to_peer));
    let to_peers = world.sets.and(to_peers, senders);
    wanted.entry(layout.tunnel).or_default().push(to_peers);
    let wanted: BTreeMap<PortNo, Bdd> =
        wanted.into_iter().map(|(port, sets)| (port, world.sets.union(sets))).collect();
    let all = world.sets.union(wanted.values().copied());
    let mut found = None;
    for (port, here) in &wanted {
        let out = leaving.get(port).copied().unwrap_or(Bdd::NONE);
        // What leaves here is little where what is wanted is much.
        let astray = world.sets.and(out, all);
        let astray = world.sets.without(astray, *here);
        let seen = |trace: &crate::replay::Trace| trace.outputs.iter().any(|(to, _)| to == port);
        found = found.or_else(|| {
            bridge.refute(
                world,
                astray,
                format!("a packet for another port goes to port {}", port.0),
                |t, _| seen(t),
            )
        });
        let missing = world.sets.without(*here, out);
        let missing = world.sets.without(missing, dropped);
        found = found.or_else(|| {
            bridge.refute(
                world,
                missing,
                format!("a packet for port {} does not get there", port.0),
                |t, _| !seen(t),
            )
        });
    }
    found = found.or_else(|| wrong_addresses(bridge, world, layout, node, all));
    verdict(found)
}

/// What leaves with another MAC than its receiver's, or by another tunnel.
fn wrong_addresses(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    layout: &Layout,
    node: &Node,
    wanted: Bdd,
) -> Option<Counterexample> {
    let macs: BTreeMap<PortNo, u128> = node
        .owners
        .iter()
        .map(|owner| (owner.port, u128::from(owner.mac)))
        .chain([(layout.tunnel, layout.virtual_mac.into())])
        .collect();
    // The tunnel's far end as it should be: each bit by the subnets for which it is set.
    let subnets = world.space.any(&mut world.sets, node.peers.iter().map(to_peer));
    let far = (0..32).map(|bit| {
        let with = node.peers.iter().filter(|peer| u32::from(peer.tunnel) >> bit & 1 == 1);
        Bit::In(world.space.any(&mut world.sets, with.map(to_peer)))
    });
    let far: Vec<Bit> = far.collect();
    let mut wrong = Vec::new();
    for event in &bridge.found.events {
        let What::Sent(port) = event.what else { continue };
        let Some(mac) = macs.get(&port) else { continue };
        let known: Vec<Bit> =
            (0..Field::EthDst.info().width).map(|bit| Bit::Known(mac >> bit & 1 == 1)).collect();
        let World { sets, space } = world;
        wrong.push(differ_within(sets, space, event.packets, &event.image.field(Field::EthDst), &known));
        if !is_unchanged_but(&event.image, &ROUTED) {
            wrong.push(event.packets);
        }
        if port == layout.tunnel {
            let to_peers = sets.and(event.packets, subnets);
            wrong.push(differ_within(sets, space, to_peers, &event.image.field(Field::TunDst), &far));
            wrong.push(sets.without(event.packets, to_peers));
        }
    }
    let wrong = world.sets.union(wrong);
    let wrong = world.sets.and(wrong, wanted);
    let what = "a packet leaves changed, with another's MAC, or by another's tunnel";
    bridge.refute(world, wrong, what, |trace, asked| {
        trace.outputs.iter().any(|(port, key)| {
            let to = key.get(Field::NwDst) as u32;
            let peer = node.peers.iter().find(|peer| to & u32::from(peer.mask) == u32::from(peer.network));
            let far = peer.map(|peer| u128::from(u32::from(peer.tunnel)));
            macs.get(port).is_some_and(|mac| *mac != key.get(Field::EthDst))
                || *port == layout.tunnel && far != Some(key.get(Field::TunDst))
                || Field::all()
                    .filter(|field| footbridge_pipeline::packet::is_packet_field(*field))
                    .any(|field| !ROUTED.contains(&field) && key.get(field) != asked.key.get(field))
        })
    })
}

/// What changes of a packet that is delivered: it was routed.
const ROUTED: [Field; 3] = [Field::EthSrc, Field::EthDst, Field::NwTtl];

fn misses(bridge: &mut Bridge<'_>, world: &mut World, layout: &Layout) -> Verdict {
    let found: Vec<Counterexample> = layout
        .misses
        .iter()
        .filter_map(|(table, wanted)| miss(bridge, world, *table, wanted.as_deref()))
        .collect();
    match found.is_empty() {
        true => Verdict::Proved,
        false => Verdict::Refuted(found, 0),
    }
}

/// What is wrong with a table's miss.
fn miss(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    table: u8,
    wanted: Option<&[Action]>,
) -> Option<Counterexample> {
    let order = bridge.program.order(table).to_vec();
    let place = order.iter().copied().find(|place| {
        let flow = &bridge.program.flows[*place].entry.flow;
        is_miss(&flow.matching, flow.priority)
    });
    let taken: Vec<Bdd> = {
        let World { sets, space } = world;
        bridge.program.all_takes(sets, space, table, place)
    };
    let taken = world.sets.union(taken);
    let beside = world.sets.not(taken);
    let direct = |bridge: &mut Bridge<'_>, world: &mut World, packets: Bdd, what: String| {
        let witness = bridge.looked_up(world, table, packets)?;
        let trace = crate::replay::replay(bridge.pipeline, bridge.ports, &witness);
        let flows = trace.lookups.iter().filter_map(|(_, flow)| *flow).collect();
        Some(Counterexample { what, witness: Some(witness), flows, confirmed: true })
    };
    let Some(wanted) = wanted else {
        let everything = order
            .iter()
            .copied()
            .find(|place| bridge.program.flows[*place].entry.flow.matching == Match::any())?;
        let (id, hits) = (bridge.program.flows[everything].entry.id, bridge.hits(world, everything));
        let what = format!("table {table} takes every packet, and should have no miss");
        return bridge
            .refute(world, hits, what.clone(), move |trace, _| trace.took(id))
            .or_else(|| direct(bridge, world, Bdd::ALL, what));
    };
    let Some(place) = place else {
        let what = format!("table {table} has no flow of priority 0 that takes what no other does");
        let missed = bridge.union(world, |event| event.what == What::Missed(table));
        return bridge.refute(world, missed, what.clone(), move |trace, _| trace.missed(table)).or_else(
            || {
                let left = if beside.is_none() { Bdd::ALL } else { beside };
                direct(bridge, world, left, what)
            },
        );
    };
    let row = bridge.program.flows[place].entry;
    if row.flow.actions != wanted {
        let (id, hits) = (row.id, bridge.hits(world, place));
        let what = format!("table {table}'s miss does something else than it should");
        return bridge
            .refute(world, hits, what.clone(), move |trace, _| trace.took(id))
            .or_else(|| direct(bridge, world, beside, what));
    }
    if beside.is_none() {
        return direct(bridge, world, Bdd::ALL, format!("table {table}'s miss is never come to"));
    }
    None
}
