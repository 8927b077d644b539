//! The ARP responder: how many requests for peers' gateways are answered, how soon, and what that costs.
//!
//! The pipeline is a node's whole one. On a raw veth pair and on the Linux bridge nobody answers for others, so there
//! the other pod's kernel does, for addresses of its own.

use crate::Measuring;
use crate::figure::{Better, Figure};
use crate::load::{self, Answers, Sender};
use crate::switches::{Awake, Result, machine_cpu};
use crate::testbed::{Between, CLIENT, SERVER, Testbed, gateways};
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Peers whose gateways are asked for, and that there are in all where not said otherwise.
const ASKED: u32 = 10;
const PEERS: [Between; 4] = [Between::Wire, Between::LinuxBridge, Between::Ovs, Between::Footbridge];

/// All figures of ARP.
pub(crate) fn measure(how: &Measuring) -> Result<Vec<(&'static str, Vec<Figure>)>> {
    let awake = Awake::begin()?;
    Ok(vec![
        ("arp-replies", replies(how, &awake)?),
        ("arp-flows", by_flows(how)?),
        ("arp-under-flood", under_flood(how)?),
    ])
}

/// A bed where `peers` gateways are answered for.
fn bed(between: Between, peers: u32) -> Result<Testbed> {
    let bed = Testbed::lay(between, peers)?;
    if matches!(between, Between::Wire | Between::LinuxBridge) {
        for gateway in gateways(ASKED)? {
            bed.server.ip(&format!("addr add {gateway}/32 dev eth0"))?;
        }
    }
    Ok(bed)
}

fn replies(how: &Measuring, awake: &Awake) -> Result<Vec<Figure>> {
    let beds = PEERS
        .iter()
        .filter(|between| how.wants(between.name()))
        .map(|between| bed(*between, ASKED))
        .collect::<Result<Vec<_>>>()?;
    let targets = gateways(ASKED)?;
    let per_second = |what: &str| Figure::new(format!("ARP replies, {what}"), "per second", Better::More);
    let mut one = per_second("one in flight");
    let mut many = per_second("64 in flight");
    let mut flood = per_second("flood");
    let mut median = Figure::new("ARP reply, p50", "µs", Better::Less);
    let mut late = Figure::new("ARP reply, p99", "µs", Better::Less);
    let mut cost = Figure::new("processors busy, of a flooded reply", "µs", Better::Less);
    let time = how.time();
    for round in 0..how.rounds {
        for bed in &beds {
            let name = bed.between.name();
            let answers = load::ask(&bed.client, CLIENT, &targets, 1, time)?;
            one.note(name, answers.per_second());
            median.note(name, answers.percentile(0.5));
            late.note(name, answers.percentile(0.99));
            many.note(name, load::ask(&bed.client, CLIENT, &targets, 64, time)?.per_second());
            let busy = || Ok::<f64, Box<dyn std::error::Error>>(machine_cpu()? - awake.cpu()?);
            let before = busy()?;
            let flooded = flood_for(bed, Sender::Honest, &targets, time)?;
            flood.note(name, flooded.per_second());
            cost.note(name, (busy()? - before) * 1e6 / flooded.answered.max(1) as f64);
            eprintln!(
                "round {round}, ARP, {name}: {:.0}/s, p50 {:.1} µs",
                one_of(&one, name),
                answers.percentile(0.5)
            );
        }
    }
    Ok(vec![one, many, flood, median, late, cost])
}

fn one_of(figure: &Figure, peer: &str) -> f64 {
    figure.of(peer).and_then(|samples| samples.0.last().copied()).unwrap_or_default()
}

fn flood_for(bed: &Testbed, sender: Sender, targets: &[Ipv4Addr], time: Duration) -> Result<Answers> {
    let begun = Instant::now();
    load::flood(&bed.client, CLIENT, sender, targets, &|| begun.elapsed() >= time)
}

/// The same with many responder flows, all of them asked in turn.
fn by_flows(how: &Measuring) -> Result<Vec<Figure>> {
    const SIZES: [(u32, &str); 3] = [(10, "10 flows"), (5_000, "5 000 flows"), (100_000, "100 000 flows")];
    let mut beds = Vec::new();
    for (peers, name) in SIZES {
        beds.push((bed(Between::Footbridge, peers)?, gateways(peers)?, name));
    }
    let mut one = Figure::new("ARP replies of Footbridge, one in flight", "per second", Better::More);
    let mut flood = Figure::new("ARP replies of Footbridge, flood", "per second", Better::More);
    let time = how.time();
    for _ in 0..how.rounds {
        for (bed, targets, name) in &beds {
            one.note(name, load::ask(&bed.client, CLIENT, targets, 1, time)?.per_second());
            flood.note(name, flood_for(bed, Sender::Honest, targets, time)?.per_second());
        }
    }
    Ok(vec![one, flood])
}

/// An honest pod's ARP, while the other sends spoofed requests as fast as it can.
fn under_flood(how: &Measuring) -> Result<Vec<Figure>> {
    let beds = [Between::Ovs, Between::Footbridge]
        .into_iter()
        .filter(|between| how.wants(between.name()))
        .map(|between| bed(between, ASKED))
        .collect::<Result<Vec<_>>>()?;
    let targets = gateways(ASKED)?;
    let mut figures = vec![
        Figure::new("honest ARP, idle, p50", "µs", Better::Less),
        Figure::new("honest ARP, idle, p99", "µs", Better::Less),
        Figure::new("honest ARP under a spoofed flood, p50", "µs", Better::Less),
        Figure::new("honest ARP under a spoofed flood, p99", "µs", Better::Less),
        Figure::new("spoofed requests sent meanwhile", "per second", Better::More),
        Figure::new("the switch's processes busy meanwhile", "% of a processor", Better::Less),
    ];
    let time = how.time();
    for _ in 0..how.rounds {
        for bed in &beds {
            let name = bed.between.name();
            let switch = bed.switch.as_ref().ok_or("a switch is what is measured here")?;
            let idle = load::ask(&bed.server, SERVER, &targets, 1, time)?;
            let (over, flooded, spoofed) =
                (AtomicBool::new(false), Mutex::new(None), Sender::Spoofed(SERVER.address));
            let (before, begun) = (switch.cpu()?, Instant::now());
            let honest = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let stop = || over.load(Ordering::Relaxed);
                    let sent = load::flood(&bed.client, CLIENT, spoofed, &targets, &stop);
                    let sent = sent.map(|answers| answers.sent as f64 / answers.took.as_secs_f64());
                    *flooded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                        Some(sent.map_err(|error| error.to_string()));
                });
                let honest = load::ask(&bed.server, SERVER, &targets, 1, time);
                over.store(true, Ordering::Relaxed);
                honest
            })?;
            let busy = (switch.cpu()? - before) / begun.elapsed().as_secs_f64() * 100.0;
            let sent = flooded.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            let sent = sent.ok_or("the flood did not end")??;
            let values = [
                idle.percentile(0.5),
                idle.percentile(0.99),
                honest.percentile(0.5),
                honest.percentile(0.99),
                sent,
                busy,
            ];
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.note(name, value));
        }
    }
    Ok(figures)
}
