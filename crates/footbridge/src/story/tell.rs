//! The telling: a packet handed from place to place until it has arrived, or nobody knows further.

use super::host::{Next, Tuple};
use super::packets::{ARP, BROADCAST, IPV4, SYN, TTL, answer, arp_request, tuple, write};
use super::{End, NodeView, Part, Place, Story, World};
use crate::walk::{Subject, port_name, summary};
use footbridge_openflow::{Field, Key, MacAddr, PortNo};
use footbridge_pipeline::packet::{Frame, compose, parse};
use footbridge_pipeline::{Packet, TunnelKey};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// More places than any packet passes that does not go round in circles.
const MOST_PARTS: usize = 64;

/// Who speaks to whom.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// A pod, by name, interface or address; or a node, for its host.
    pub(crate) from: String,
    /// A pod or a service, by name or address; for an ARP request, an address.
    pub(crate) to: String,
    /// What is sent.
    pub(crate) flow: Flow,
    /// Which of a service's endpoints is taken.
    pub(crate) endpoint: Option<SocketAddrV4>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// TCP or UDP, from this port to that.
    Transport { protocol: u8, source: u16, destination: u16 },
    /// An echo request.
    Ping,
    /// `who-has`
    WhoHas,
}

/// Where the packet is, and what it is.
struct Event {
    node: String,
    at: At,
    frame: Vec<u8>,
}

enum At {
    /// It comes into the bridge.
    Bridge { in_port: PortNo, tunnel: TunnelKey },
    /// It comes to what is behind a port.
    End(PortNo),
    /// The host sends it, routed but without MAC addresses.
    HostSends,
}

/// What is told so far, and what is to be told.
struct Teller<'w> {
    world: &'w mut World,
    endpoint: Option<SocketAddrV4>,
    events: VecDeque<Event>,
    /// Packets that wait for a neighbour's MAC, by node and address.
    waiting: Vec<(String, Ipv4Addr, Vec<u8>)>,
    story: Story,
    /// The node and port where it began.
    origin: (String, PortNo),
    /// Whether the packet got where it was to go, so that what comes now is the answer.
    answered: bool,
    /// The address that asked, where the story is an ARP request's.
    asks: Option<Ipv4Addr>,
}

/// Take a packet through the world.
///
/// # Errors
/// Nobody is called so, or something that is needed was not given, in words.
pub(crate) fn tell(world: &mut World, ends: &Ends) -> Result<Story, String> {
    let (node, port) = world.find(&ends.from)?;
    let to = world.address(&ends.to)?;
    let mut teller = Teller {
        world,
        endpoint: ends.endpoint,
        events: VecDeque::new(),
        waiting: Vec::new(),
        story: Story::default(),
        origin: (node.clone(), port),
        answered: false,
        asks: (ends.flow == Flow::WhoHas).then_some(to),
    };
    teller.begin(&node, port, to, ends.flow)?;
    while let Some(event) = teller.events.pop_front() {
        if teller.story.parts.len() >= MOST_PARTS {
            teller.end("the packet goes round in circles".to_owned(), false);
            break;
        }
        // What is not known ends the story, and what was told stays told.
        if let Err(unknown) = teller.step(event) {
            teller.end(unknown, false);
            break;
        }
    }
    if teller.story.end.is_empty() {
        teller.story.end = "it goes no further".to_owned();
    }
    Ok(teller.story)
}

impl Teller<'_> {
    fn node(&self, name: &str) -> Result<&NodeView, String> {
        self.world.nodes.get(name).ok_or_else(|| format!("nothing is known of node {name}"))
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut NodeView, String> {
        self.world.nodes.get_mut(name).ok_or_else(|| format!("nothing is known of node {name}"))
    }

    fn end_of(&self, node: &str, port: PortNo) -> Result<End, String> {
        let view = self.node(node)?;
        let name = port_name(port, view.bridge.names());
        view.ends
            .get(&port)
            .cloned()
            .ok_or_else(|| format!("node {node}: nothing says who is behind port {name}"))
    }

    fn tell(&mut self, node: &str, place: Place, key: &Key, says: Vec<String>) {
        self.story.parts.push(Part { node: node.to_owned(), place, packet: summary(key), says, walk: None });
    }

    fn end(&mut self, how: String, arrived: bool) {
        if self.story.end.is_empty() || arrived {
            self.story.end = how;
            self.story.arrived = arrived;
        }
    }

    /// The first packet, as its sender makes it.
    fn begin(&mut self, node: &str, port: PortNo, to: Ipv4Addr, flow: Flow) -> Result<(), String> {
        let sender = self.end_of(node, port)?;
        let is_host = port == self.node(node)?.gateway;
        if flow == Flow::WhoHas {
            let key = arp_request(&sender, to);
            let place = if is_host { Place::Host } else { Place::Pod(sender.name.clone()) };
            self.tell(node, place, &key, vec![format!("{} asks who has {to}", sender.name)]);
            self.enter_bridge(node, port, compose(&key));
            return Ok(());
        }
        let mut key = Key::default();
        key.set(Field::EthType, IPV4);
        key.set(Field::NwTtl, TTL);
        key.set(Field::NwSrc, u32::from(sender.address).into());
        key.set(Field::NwDst, u32::from(to).into());
        match flow {
            Flow::Transport { protocol, source, destination } => {
                key.set(Field::NwProto, protocol.into());
                key.set(Field::TcpSrc, source.into());
                key.set(Field::TcpDst, destination.into());
                if protocol == 6 {
                    key.set(Field::TcpFlags, SYN);
                }
            }
            Flow::Ping | Flow::WhoHas => {
                key.set(Field::NwProto, 1);
                key.set(Field::IcmpType, 8);
            }
        }
        if is_host {
            let key = self.translated(node, key)?;
            self.events.push_back(Event { node: node.to_owned(), at: At::HostSends, frame: compose(&key) });
            return Ok(());
        }
        self.pod_sends(node, port, key)
    }

    /// A pod sends an IP packet: to a neighbour on its own subnet, else to its gateway.
    fn pod_sends(&mut self, node: &str, port: PortNo, mut key: Key) -> Result<(), String> {
        let sender = self.end_of(node, port)?;
        let to = Ipv4Addr::from(key.get(Field::NwDst) as u32);
        let view = self.node(node)?;
        let gateway = self.end_of(node, view.gateway)?;
        let neighbour = view.ends.values().find(|end| end.address == to).unwrap_or(&gateway).clone();
        key.set(Field::EthSrc, sender.mac.into());
        key.set(Field::EthDst, neighbour.mac.into());
        let whose =
            if neighbour == gateway { "its gateway".to_owned() } else { format!("pod {}", neighbour.name) };
        let next = format!("next hop {}, {whose}, at {}", neighbour.address, neighbour.mac);
        self.tell(node, Place::Pod(sender.name), &key, vec![next]);
        self.enter_bridge(node, port, compose(&key));
        Ok(())
    }

    fn enter_bridge(&mut self, node: &str, in_port: PortNo, frame: Vec<u8>) {
        let at = At::Bridge { in_port, tunnel: TunnelKey::default() };
        self.events.push_back(Event { node: node.to_owned(), at, frame });
    }

    fn step(&mut self, Event { node, at, frame }: Event) -> Result<(), String> {
        match at {
            At::Bridge { in_port, tunnel } => self.through_bridge(&node, in_port, frame, tunnel),
            At::End(port) if port == self.node(&node)?.gateway => self.at_host(&node, frame),
            At::End(port) => self.at_pod(&node, port, frame),
            At::HostSends => self.host_sends(&node, Frame::new(frame)),
        }
    }

    fn through_bridge(
        &mut self,
        node: &str,
        in_port: PortNo,
        frame: Vec<u8>,
        tunnel: TunnelKey,
    ) -> Result<(), String> {
        let key = parse(&frame, in_port, &tunnel);
        let view = self.node_mut(node)?;
        let subject = Subject::Frame(Box::new(Packet { in_port, frame, tunnel }));
        let (walk, verdict) = view.bridge.walk_live(&subject, &mut view.fdb, &mut view.conntrack);
        let (tunnel_port, from) = (view.tunnel, view.address);
        let end = match (&walk.stopped, &walk.drop) {
            (Some(_), _) => Some(format!("{node}'s bridge: {}", walk.plain_end())),
            (None, Some(drop)) => {
                Some(format!("dropped by {node}'s bridge: {}, table {}", drop.description, drop.table))
            }
            (None, None) => None,
        };
        let is_known = walk.stopped.is_none();
        let part = Part {
            node: node.to_owned(),
            place: Place::Bridge,
            packet: summary(&key),
            says: Vec::new(),
            walk: Some(walk),
        };
        self.story.parts.push(part);
        if let Some(end) = end {
            self.end(end, false);
        }
        let outputs = if is_known { verdict.outputs } else { Vec::new() };
        for output in outputs {
            if output.port != tunnel_port {
                let at = At::End(output.port);
                self.events.push_back(Event { node: node.to_owned(), at, frame: output.frame });
                continue;
            }
            let key = parse(&output.frame, output.port, &output.tunnel);
            let Some(IpAddr::V4(to)) = output.tunnel.destination() else {
                self.end("a tunnel over IPv6, which is not followed here".to_owned(), false);
                continue;
            };
            let other = self.world.nodes.iter().find(|(_, other)| other.address == Some(to));
            match other.map(|(name, other)| (name.clone(), other.tunnel)) {
                Some((other, in_port)) => {
                    let from_address = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
                    let whose = from.map_or_else(|| node.to_owned(), |from| format!("{node} ({from})"));
                    let says = vec![format!("through the tunnel: {whose} to {other} ({to})")];
                    self.tell(node, Place::Wire, &key, says);
                    let tunnel = TunnelKey { src: from_address, dst: to, ..output.tunnel };
                    let at = At::Bridge { in_port, tunnel };
                    self.events.push_back(Event { node: other, at, frame: output.frame });
                }
                None => {
                    self.tell(node, Place::Wire, &key, vec![format!("through the tunnel, to {to}")]);
                    self.end(
                        format!("the node at {to} is not among those that are known: give its --flows"),
                        false,
                    );
                }
            }
        }
        Ok(())
    }

    /// What comes out of the gateway's port is for the host, or ignored.
    fn at_host(&mut self, node: &str, frame: Vec<u8>) -> Result<(), String> {
        let view = self.node(node)?;
        let gateway = self.end_of(node, view.gateway)?;
        let frame = Frame::new(frame);
        let key = frame.key().clone();
        let dst = MacAddr::from(key.get(Field::EthDst));
        if dst != gateway.mac && dst != BROADCAST {
            return Ok(());
        }
        match (key.get(Field::EthType), key.get(Field::ArpOp)) {
            (ARP, 1) => self.answers_arp(node, &gateway, Place::Host, &key),
            (ARP, 2) => self.learns(node, &gateway, &key),
            (IPV4, _) => {
                let mut key = self.translated(node, key)?;
                let to = Ipv4Addr::from(key.get(Field::NwDst) as u32);
                let routes = self.node(node)?.routes.as_ref();
                let is_own = routes.is_some_and(|routes| routes.next(to) == Next::Own);
                match key.get(Field::NwTtl) {
                    _ if is_own => {}
                    0 | 1 => {
                        self.end(format!("{node}'s host drops it: its TTL ran out"), false);
                        return Ok(());
                    }
                    ttl => key.set(Field::NwTtl, ttl - 1),
                }
                let mut frame = frame;
                frame.write(&key);
                self.host_sends(node, frame)
            }
            _ => Ok(()),
        }
    }

    /// What kube-proxy's rules, or a translation that the host remembers, make of a packet.
    fn translated(&mut self, node: &str, mut key: Key) -> Result<Key, String> {
        let Some(came) = tuple(&key) else { return Ok(key) };
        if let Some(back) = self.node(node)?.translated.get(&came).copied() {
            write(&mut key, back);
            let says = format!("the host undoes its translation: {} is {} again", came.source, back.source);
            self.tell(node, Place::Host, &key, vec![says]);
            return Ok(key);
        }
        let to = came.destination;
        let asked = self.endpoint;
        let view = self.node(node)?;
        let known = view.nat.endpoints(*to.ip(), came.protocol, to.port()).map(<[SocketAddrV4]>::to_vec);
        let in_range = self.world.service_cidr.is_some_and(|cidr| cidr.contains(*to.ip()));
        let (endpoint, why) = match (known, asked) {
            (Some(endpoints), Some(asked)) if endpoints.contains(&asked) => (asked, "as asked".to_owned()),
            (Some(endpoints), Some(asked)) => {
                let all: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
                return Err(format!("{asked} is no endpoint of {to}: it has {}", all.join(", ")));
            }
            (Some(endpoints), None) => match endpoints.first() {
                Some(first) if endpoints.len() == 1 => (*first, "its only endpoint".to_owned()),
                Some(first) => (
                    *first,
                    format!("the lowest of its {} endpoints; --endpoint is for another", endpoints.len()),
                ),
                None => {
                    self.tell(node, Place::Host, &key, vec![format!("the service {to} has no endpoints")]);
                    return Err(format!("the service {to} has no endpoints: the host refuses the packet"));
                }
            },
            (None, Some(asked)) if in_range => (asked, "as asked".to_owned()),
            (None, None) if in_range && !view.nat.is_service(*to.ip()) => {
                return Err(format!(
                    "{to} is a service's address, and nothing says where it leads: give --cluster, or --endpoint ADDRESS:PORT"
                ));
            }
            (None, _) => return Ok(key),
        };
        let mut says = vec![format!("DNAT: {to} becomes {endpoint} ({why})")];
        let mut made = Tuple { destination: endpoint, ..came };
        if view.nat.masquerades(*came.source.ip(), *endpoint.ip()) {
            let device = view.routes.as_ref().and_then(|routes| match routes.next(*endpoint.ip()) {
                Next::Out { device, .. } => routes.address_on(device),
                _ => None,
            });
            if let Some(own) = device {
                made.source = SocketAddrV4::new(own, came.source.port());
                says.push(format!("masquerade: {} becomes {}", came.source, made.source));
            }
        }
        write(&mut key, made);
        self.node_mut(node)?.translated.insert(made.reversed(), came.reversed());
        self.tell(node, Place::Host, &key, says);
        Ok(key)
    }

    /// The host routes a packet.
    fn host_sends(&mut self, node: &str, mut frame: Frame) -> Result<(), String> {
        let mut key = frame.key().clone();
        let to = Ipv4Addr::from(key.get(Field::NwDst) as u32);
        let view = self.node(node)?;
        let gateway = self.end_of(node, view.gateway)?;
        let gateway_device = port_name(view.gateway, view.bridge.names());
        let routes = view
            .routes
            .as_ref()
            .ok_or_else(|| format!("how {node}'s host routes {to} is not known: give --routes {node}=FILE, what `ip route` prints"))?;
        let (device, neighbour, says) = match routes.next(to) {
            Next::Own => {
                self.tell(node, Place::Host, &key, vec![format!("{to} is the host's own address")]);
                return self.arrives(node, self.node(node)?.gateway, &gateway.name, &key);
            }
            Next::Out { route, device, neighbour } => {
                (device.to_owned(), neighbour, format!("route: {}", route.text))
            }
            Next::Refused(route) => {
                let says = format!("route: {}", route.text);
                self.tell(node, Place::Host, &key, vec![says.clone()]);
                self.end(format!("{node}'s host refuses it: {says}"), false);
                return Ok(());
            }
            Next::NoRoute => {
                self.tell(node, Place::Host, &key, vec![format!("no route leads to {to}")]);
                self.end(format!("{node}'s host has no route to {to}"), false);
                return Ok(());
            }
        };
        if device != gateway_device {
            self.tell(node, Place::Host, &key, vec![says]);
            self.end(
                format!("it leaves {node} by {device} for {neighbour}, beyond the nodes' bridges"),
                true,
            );
            return Ok(());
        }
        let view = self.node(node)?;
        match view.neighbours.get(&(device.clone(), neighbour)).copied() {
            Some(mac) => {
                key.set(Field::EthSrc, gateway.mac.into());
                key.set(Field::EthDst, mac.into());
                self.tell(node, Place::Host, &key, vec![says, format!("neighbour: {neighbour} is at {mac}")]);
                frame.write(&key);
                let port = self.node(node)?.gateway;
                self.enter_bridge(node, port, frame.bytes().to_vec());
            }
            None => {
                let request = arp_request(&gateway, neighbour);
                let asks = format!("neighbour: {neighbour} is not known, so the host asks on {device}");
                self.tell(node, Place::Host, &key, vec![says, asks]);
                self.waiting.push((node.to_owned(), neighbour, frame.bytes().to_vec()));
                let port = self.node(node)?.gateway;
                self.enter_bridge(node, port, compose(&request));
            }
        }
        Ok(())
    }

    /// Whoever asked hears who has an address.
    fn learns(&mut self, node: &str, asker: &End, key: &Key) -> Result<(), String> {
        let address = Ipv4Addr::from(key.get(Field::ArpSpa) as u32);
        let mac = MacAddr::from(key.get(Field::ArpSha));
        let view = self.node_mut(node)?;
        let is_host = view.ends.get(&view.gateway) == Some(asker);
        let place = if is_host { Place::Host } else { Place::Pod(asker.name.clone()) };
        if is_host {
            let device = port_name(view.gateway, view.bridge.names());
            view.neighbours.insert((device, address), mac);
        }
        self.tell(node, place, key, vec![format!("{} learns: {address} is at {mac}", asker.name)]);
        if self.asks == Some(address) {
            self.end(format!("{} hears that {address} is at {mac}", asker.name), true);
        }
        let (now, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(at, wanted, _)| at == node && *wanted == address);
        self.waiting = still;
        for (node, _, frame) in now {
            self.events.push_back(Event { node, at: At::HostSends, frame });
        }
        Ok(())
    }

    fn answers_arp(&mut self, node: &str, who: &End, place: Place, key: &Key) -> Result<(), String> {
        if Ipv4Addr::from(key.get(Field::ArpTpa) as u32) != who.address {
            return Ok(());
        }
        let mut reply = key.clone();
        for (field, value) in [
            (Field::EthSrc, who.mac.into()),
            (Field::EthDst, key.get(Field::ArpSha)),
            (Field::ArpOp, 2),
            (Field::ArpSha, who.mac.into()),
            (Field::ArpSpa, u32::from(who.address).into()),
            (Field::ArpTha, key.get(Field::ArpSha)),
            (Field::ArpTpa, key.get(Field::ArpSpa)),
        ] {
            reply.set(field, value);
        }
        let view = self.node(node)?;
        let port = view.ends.iter().find(|(_, end)| *end == who).map(|(port, _)| *port);
        self.tell(node, place, &reply, vec![format!("{} answers", who.name)]);
        if let Some(port) = port {
            self.enter_bridge(node, port, compose(&reply));
        }
        Ok(())
    }

    /// What comes out of a pod's port.
    fn at_pod(&mut self, node: &str, port: PortNo, frame: Vec<u8>) -> Result<(), String> {
        let key = Frame::new(frame).key().clone();
        let dst = MacAddr::from(key.get(Field::EthDst));
        let Ok(pod) = self.end_of(node, port) else {
            let name = port_name(port, self.node(node)?.bridge.names());
            self.end(
                format!("it leaves {node}'s bridge by {name}, and nothing says who is behind it"),
                false,
            );
            return Ok(());
        };
        if dst != pod.mac && dst != BROADCAST {
            // A copy of a flood that is for another.
            return Ok(());
        }
        match (key.get(Field::EthType), key.get(Field::ArpOp)) {
            (ARP, 1) => self.answers_arp(node, &pod, Place::Pod(pod.name.clone()), &key),
            (ARP, 2) => self.learns(node, &pod, &key),
            (IPV4, _) if Ipv4Addr::from(key.get(Field::NwDst) as u32) == pod.address => {
                self.arrives(node, port, &pod.name, &key)
            }
            _ => {
                self.tell(
                    node,
                    Place::Pod(pod.name.clone()),
                    &key,
                    vec!["it is not the pod's address".to_owned()],
                );
                self.end(format!("pod {} does not take it: it has {}", pod.name, pod.address), false);
                Ok(())
            }
        }
    }

    /// An IP packet is where it was to go: the story's end, or the answer begins.
    fn arrives(&mut self, node: &str, port: PortNo, name: &str, key: &Key) -> Result<(), String> {
        let is_host = port == self.node(node)?.gateway;
        let place = if is_host { Place::Host } else { Place::Pod(name.to_owned()) };
        if self.answered && self.origin == (node.to_owned(), port) {
            self.tell(node, place, key, vec!["the answer is there".to_owned()]);
            self.end(format!("{name} has its answer"), true);
            return Ok(());
        }
        if let Some(answer) = answer(key).filter(|_| !self.answered) {
            self.answered = true;
            self.tell(node, place, key, vec!["it is there, and supposed to be answered".to_owned()]);
            return match is_host {
                true => {
                    let frame = compose(&answer);
                    self.events.push_back(Event { node: node.to_owned(), at: At::HostSends, frame });
                    Ok(())
                }
                false => self.pod_sends(node, port, answer),
            };
        }
        self.tell(node, place, key, vec!["it is there".to_owned()]);
        self.end(format!("it arrives at {name}"), true);
        Ok(())
    }
}
