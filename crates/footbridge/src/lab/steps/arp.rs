//! Step 4: the node's ARP for a peer's gateway, and who answers.
//!
//! The captures run from before the first service call. The kernel's re-check of a neighbour that it
//! knows comes about a minute later with its usual timers; they are shortened on the node's gateway
//! for this step, and the kernel then does it by itself.
//!
//! Where no node is behind a tunnel nobody asks, and the step says so.

use super::cast::Cast;
use super::look;
use crate::lab::capture::{self, Capture};
use crate::lab::frames::{self, Arp, BROADCAST, REPLY, REQUEST, mac_text};
use crate::lab::plan::{GATEWAY, NodePlan, PodPlan};
use crate::lab::report::Report;
use crate::lab::{Lab, LabError};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// "global virtual MAC".
const GLOBAL: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
/// How long to wait for the kernel's re-check.
const PATIENCE: Duration = Duration::from_secs(30);
/// Neighbour timers while the step runs: how long a neighbour counts as reachable (0.5 to 1.5 times
/// this), and how long the first re-check waits after that.
const TIMERS: [(&str, &str); 2] = [("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1")];

/// Captures at work.
pub(crate) struct Watch(Option<Parts>);

struct Parts {
    peer: NodePlan,
    remote: PodPlan,
    gateway: Capture,
    underlay: Vec<Capture>,
    timers: Vec<(String, String)>,
}

impl Watch {
    /// Begin to capture on the gateway and on every port of the underlay.
    pub(crate) async fn start(lab: &Lab, cast: &Cast) -> Result<Watch, LabError> {
        let Some(remote) = cast.remote.clone().filter(|_| lab.tunnels()) else { return Ok(Watch(None)) };
        let Some(peer) = lab.plan.nodes.get(&remote.node).cloned() else { return Ok(Watch(None)) };
        let gateway = Capture::start(lab, &cast.here, GATEWAY, "arp").await?;
        let mut underlay = Vec::new();
        for node in lab.plan.nodes.values() {
            underlay.push(
                Capture::start(lab, "underlay", &node.port, "arp or udp port 4789 or udp port 6081").await?,
            );
        }
        let mut timers = Vec::new();
        for (name, _) in TIMERS {
            let key = timer(name);
            let value = look::run(lab, &cast.here, &["cat", &format!("/proc/sys/net/{key}")]).await?;
            timers.push((key, value.trim().to_owned()));
        }
        let short = TIMERS.iter().map(|(name, value)| (timer(name), (*value).to_owned())).collect();
        lab.node(&cast.here).sysctl(short).await?;
        Ok(Watch(Some(Parts { peer, remote, gateway, underlay, timers })))
    }

    /// Wait for the re-check, end the captures, and report.
    pub(crate) async fn finish(self, lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
        let here = &cast.here;
        let Some(Parts { peer, remote, gateway, underlay, timers }) = self.0 else {
            report.step(4, "ARP for a peer's gateway");
            report.not_applicable(match lab.tunnels() {
                true => "no two nodes with a pod on one of them",
                false => "without tunnels the host asks the other nodes themselves, over its uplink",
            });
            return Ok(());
        };
        let target = peer.subnet.gateway();
        report.step(4, &format!("{here} asks for {}'s gateway, and its own bridge answers", peer.name));
        let (asker, answer) = (mac_text(cast.gateway_mac), mac_text(GLOBAL));
        report.expect(&format!(
            "{asker} > {}: Request who-has {target} tell {}",
            mac_text(BROADCAST),
            cast.gateway
        ));
        report.expect(&format!(
            "{asker} > {answer}: Request who-has {target} tell {}   (the later re-check)",
            cast.gateway
        ));
        report.expect(&format!("{answer} > {asker}: Reply {target} is-at {answer}   (to both)"));

        let expected = Expected { gateway: cast.gateway, gateway_mac: cast.gateway_mac, target };
        let deadline = Instant::now() + PATIENCE;
        while !expected.rechecked(&gateway.frames()?) && Instant::now() < deadline {
            // A neighbour is re-checked only while it is in use.
            let to = (remote.address, 9);
            lab.node(here)
                .run("send a datagram", move || std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", to))
                .await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        lab.node(here).sysctl(timers).await?;
        let (frames, file) = gateway.stop().await?;
        let text = capture::printed(lab, &file, &format!("arp host {target}")).await?;
        report.saw(&format!("{here}# tcpdump -en -i {GATEWAY} arp"), &shortened(&text));
        report.check(expected.asked(&frames, BROADCAST), "the first request is a broadcast", &text);
        report.check(
            expected.rechecked(&frames),
            "the re-check is a unicast to the global virtual MAC, as the article shows it",
            &text,
        );
        report.check(
            expected.answered_all(&frames),
            "every request is answered with the global virtual MAC",
            &text,
        );

        let gateways: Vec<Ipv4Addr> = lab.plan.nodes.values().map(|n| n.subnet.gateway()).collect();
        let (mut seen, mut tunnelled, mut files) = (0, 0, 0);
        let mut leaked = String::new();
        for capture in underlay {
            let (frames, _) = capture.stop().await?;
            files += 1;
            seen += frames.len();
            for frame in &frames {
                let inner = frames::inner(frame);
                tunnelled += usize::from(inner.is_some());
                let arp = Arp::parse(frame).or_else(|| inner.and_then(Arp::parse));
                if let Some(arp) =
                    arp.filter(|a| gateways.contains(&a.target) || gateways.contains(&a.sender))
                {
                    leaked += &format!("{arp:?}\n");
                }
            }
        }
        report.line(&format!(
            "   {files} ports of the underlay: {seen} frames, {tunnelled} of them in tunnels"
        ));
        report.check(tunnelled > 0, "the captures saw the tunnel", "no tunnelled frame");
        report.check(
            leaked.is_empty(),
            "no ARP for a gateway on the underlay, neither plain nor in a tunnel",
            &leaked,
        );
        Ok(())
    }
}

struct Expected {
    gateway: Ipv4Addr,
    gateway_mac: [u8; 6],
    target: Ipv4Addr,
}

impl Expected {
    fn is_request(&self, arp: &Arp) -> bool {
        arp.operation == REQUEST
            && (arp.sender, arp.sender_mac, arp.eth_src) == (self.gateway, self.gateway_mac, self.gateway_mac)
            && arp.target == self.target
    }

    fn is_reply(&self, arp: &Arp) -> bool {
        arp.operation == REPLY
            && (arp.sender, arp.sender_mac, arp.eth_src) == (self.target, GLOBAL, GLOBAL)
            && (arp.target, arp.target_mac, arp.eth_dst) == (self.gateway, self.gateway_mac, self.gateway_mac)
    }

    /// A request of the node's to `eth_dst`, followed by its reply. The broadcast has to be the first.
    fn asked(&self, frames: &[Vec<u8>], eth_dst: [u8; 6]) -> bool {
        let arps: Vec<Arp> = frames
            .iter()
            .filter_map(|f| Arp::parse(f))
            .filter(|a| self.is_request(a) || self.is_reply(a))
            .collect();
        let request = match eth_dst {
            BROADCAST => arps.first().filter(|a| a.eth_dst == BROADCAST).map(|_| 0),
            other => arps.iter().position(|a| self.is_request(a) && a.eth_dst == other),
        };
        request.is_some_and(|at| arps[at..].iter().any(|a| self.is_reply(a)))
    }

    fn rechecked(&self, frames: &[Vec<u8>]) -> bool {
        self.asked(frames, GLOBAL)
    }

    /// As many replies as requests, and nobody else's.
    fn answered_all(&self, frames: &[Vec<u8>]) -> bool {
        let about: Vec<Arp> = frames
            .iter()
            .filter_map(|f| Arp::parse(f))
            .filter(|a| a.target == self.target || a.sender == self.target)
            .collect();
        let requests = about.iter().filter(|a| self.is_request(a)).count();
        let replies = about.iter().filter(|a| self.is_reply(a)).count();
        requests > 0 && requests == replies && requests + replies == about.len()
    }
}

fn timer(name: &str) -> String {
    format!("ipv4/neigh/{GATEWAY}/{name}")
}

/// The first two and the last two lines.
fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [a, b, _, .., y, z] if lines.len() > 5 => format!("{a}\n{b}\n…\n{y}\n{z}"),
        _ => text.to_owned(),
    }
}
