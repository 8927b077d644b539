//! Many calls, and processes that are killed in the middle of them: afterwards disk, kernel and flows agree, and
//! nothing is left.

use crate::node::{Container, Node, Outcome, own_addresses};
use crate::{SUBNET, node};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// ADDs and DELs of the churn, a pair each; `FOOTBRIDGE_CNI_PAIRS` says another number.
const PAIRS: usize = 1000;
/// How often something is killed; `FOOTBRIDGE_CNI_KILLS` says another number.
const KILLS: usize = 100;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// xorshift64 (Marsaglia 2003), for instants that no run has in common with another.
struct Random(u64);

impl Random {
    fn seeded() -> Random {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = now.as_nanos() as u64 | 1;
        println!("seed {seed}");
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the node has of pods, each by the names of their devices.
#[derive(Debug, PartialEq, Eq)]
struct Everywhere {
    disk: BTreeSet<String>,
    kernel: BTreeSet<String>,
    flows: BTreeSet<String>,
    ports: BTreeSet<String>,
}

impl Everywhere {
    fn of(node: &Node) -> Everywhere {
        let record = |file: &String| {
            let text = std::fs::read_to_string(node.path("state/pods").join(file)).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["interface"].as_str().unwrap().to_owned()
        };
        let flow = |flow: &String| {
            let from = flow.split("in_port=\"").nth(1).filter(|_| flow.contains("table=10,"))?;
            Some(from.split('"').next().unwrap().to_owned())
        };
        let is_pods = |name: &String| name.starts_with("pod-");
        let ports: Value = serde_json::from_str(&node.footbridge(&["ports", "--json"])).unwrap();
        let ports =
            ports["ports"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap().to_owned());
        Everywhere {
            disk: node.files("pods").iter().map(record).collect(),
            kernel: node.pod_devices().into_iter().collect(),
            flows: node.flows().iter().filter_map(flow).filter(is_pods).collect(),
            ports: ports.filter(is_pods).collect(),
        }
    }

    fn agree(&self) -> bool {
        [&self.kernel, &self.flows, &self.ports].into_iter().all(|other| *other == self.disk)
    }
}

#[test]
fn a_hundred_pods_are_added_at_once() {
    for datapath in ["userspace", "ebpf"] {
        let Some(node) = node("hundred", SUBNET, datapath) else { return };
        let containers: Vec<Container> = (0..100).map(|_| node.container()).collect();
        let results: Vec<Value> = std::thread::scope(|scope| {
            let calls: Vec<_> =
                containers.iter().map(|container| scope.spawn(|| node.add(container))).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let addresses: BTreeSet<String> = results.iter().map(crate::address).collect();
        assert_eq!(addresses.len(), 100);
        let everywhere = Everywhere::of(&node);
        assert!(everywhere.agree() && everywhere.disk.len() == 100, "{everywhere:?}");
        for (container, result) in containers.iter().zip(&results) {
            let outcome = node.check(container, result);
            assert!(outcome.success, "{}", outcome.printed);
        }
        containers[99].run(&format!("ping -c 1 -W 2 {}", crate::address(&results[0])));
    }
}

#[test]
fn a_thousand_pods_that_come_and_go_leave_nothing() {
    let pairs = number("FOOTBRIDGE_CNI_PAIRS", PAIRS);
    let host_local =
        |node: &Node| json!({"ipam": {"type": "host-local", "dataDir": node.path("host-local")}});
    for ipam in [&|_: &Node| own_addresses(), &host_local as &dyn Fn(&Node) -> Value] {
        let Some(node) = node("churn", SUBNET, "userspace") else { return };
        let config = node.config("1.0.0", &ipam(&node));
        let (flows, devices, descriptors) = (node.flows(), node.devices(), node.agents_descriptors());
        let left = AtomicUsize::new(pairs / 2);
        let one_more =
            || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut container = node.container();
                    while one_more() {
                        container.id = format!("{}{}", &container.id[..50], left.load(Ordering::Relaxed));
                        for command in ["ADD", "DEL"] {
                            let outcome = node.call(command, &container, &config);
                            assert!(outcome.success, "{command}: {}\n{}", outcome.printed, node.log());
                        }
                    }
                });
            }
        });
        node.wait("ports are gone", || Everywhere::of(&node).agree());
        assert_eq!(node.files("pods"), [""; 0]);
        assert_eq!((node.flows(), node.devices()), (flows, devices));
        node.wait("descriptors are closed", || node.agents_descriptors() <= descriptors);
        node.wait("guards are gone", || !node.run("nft list tables").contains("pod-"));
        let reservations = std::fs::read_dir(node.path("host-local/pods")).into_iter().flatten();
        let names = reservations.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("10.")).count(), 0);
    }
}

#[test]
fn kills_at_any_instant_leave_disk_kernel_and_flows_agreed() {
    for datapath in ["userspace", "ebpf"] {
        let Some(mut node) = node("kills", SUBNET, datapath) else { return };
        let mut random = Random::seeded();
        let mut containers: Vec<(Container, Known)> =
            (0..6).map(|_| (node.container(), Known::Absent)).collect();
        for round in 0..number("FOOTBRIDGE_CNI_KILLS", KILLS) / 2 {
            let calls: Vec<(usize, &str, Child)> = (0..containers.len())
                .filter_map(|index| {
                    let command = match (random.below(3), &containers[index].1) {
                        (0, _) => return None,
                        (_, Known::Absent) => "ADD",
                        _ => "DEL",
                    };
                    let config = node.config("1.0.0", &own_addresses());
                    Some((index, command, node.start_call(command, &containers[index].0, &config)))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(random.below(120)));
            let agent = random.below(2) == 0;
            match calls.get(random.below(6) as usize) {
                Some((_, _, plugin)) if !agent => {
                    kill(Pid::from_raw(plugin.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
                }
                // Asked to end in the middle of calls it leaves no more than when it is killed.
                _ if random.below(4) == 0 => {
                    node.stop_agent();
                    node.start_agent();
                }
                _ => {
                    node.kill_agent();
                    node.start_agent();
                }
            }
            for (index, command, call) in calls {
                containers[index].1 = match (command, Outcome::of(call)) {
                    ("ADD", Some(Outcome { success: true, printed })) => Known::Present(printed),
                    ("DEL", Some(Outcome { success: true, .. })) => Known::Absent,
                    _ => Known::Unknown,
                };
            }
            node.wait_ready();
            node.wait("what was cut short is finished", || settled(&node));
            node.wait(&format!("round {round}: all agree"), || Everywhere::of(&node).agree());
            for (container, known) in &containers {
                let there = node.files("pods").iter().any(|file| file.starts_with(&container.id));
                match known {
                    Known::Absent => assert!(!there, "round {round}: {container:?}\n{}", node.log()),
                    Known::Present(result) => {
                        let outcome = node.check(container, result);
                        assert!(outcome.success, "round {round}: {}\n{}", outcome.printed, node.log());
                    }
                    // As a runtime does after an ADD that failed: detach, and try again.
                    Known::Unknown => node.del(container),
                }
            }
            for (container, known) in &mut containers {
                if matches!(known, Known::Unknown) {
                    *known = Known::Absent;
                    container.run("sh -c '! ip link show eth0 2>/dev/null'");
                }
            }
        }
        containers.iter().for_each(|(container, _)| node.del(container));
        node.wait("ports are gone", || Everywhere::of(&node).agree());
        assert_eq!(node.files("pods"), [""; 0]);
    }
}

/// What a runtime knows of a container.
#[derive(Debug)]
enum Known {
    /// DEL succeeded.
    Absent,
    /// ADD succeeded.
    Present(Value),
    /// The last call failed, or was killed.
    Unknown,
}

/// Whether no record is under way, and no DEL waits.
fn settled(node: &Node) -> bool {
    let finished = |file: &String| {
        let text = std::fs::read_to_string(node.path("state/pods").join(file)).unwrap_or_default();
        text.contains(r#""phase":"added""#)
    };
    node.files("deletions").is_empty() && node.files("pods").iter().all(finished)
}
