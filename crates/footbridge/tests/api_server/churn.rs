//! A thousand Nodes of an API server that nobody runs, created, changed and deleted at random.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use crate::cluster::{Underlay, node};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nix::sched::{CloneFlags, setns};
use std::collections::BTreeSet;
use std::fs::File;

const NODES: usize = 1000;
const CHANGES: usize = 2000;

/// Create, change and delete them; the subnets and addresses of those that are there at the end.
pub(crate) fn thousand_nodes(cluster: &Underlay) -> Vec<(String, String)> {
    let namespace = File::open(cluster.namespace()).unwrap();
    let kubeconfig = cluster.kubeconfig("admin");
    // A namespace is a thread's; this one is the API server's.
    let thread = std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            Crowd::new(Api::all(Client::try_from(config).unwrap())).live().await
        })
    });
    thread.join().unwrap()
}

/// The Nodes, by number: subnet and address, as numbers too, of those that are there.
struct Crowd {
    api: Api<Node>,
    there: Vec<Option<(usize, usize)>>,
    free: BTreeSet<usize>,
    random: Random,
}

impl Crowd {
    fn new(api: Api<Node>) -> Crowd {
        Crowd { api, there: vec![None; NODES], free: (0..NODES + 50).collect(), random: Random(0x5eed) }
    }

    async fn live(mut self) -> Vec<(String, String)> {
        for number in 0..NODES {
            self.create(number).await;
        }
        for _ in 0..CHANGES {
            let number = self.random.below(NODES);
            match (self.there[number], self.random.below(4)) {
                (None, _) => self.create(number).await,
                (Some(_), 0) => self.delete(number).await,
                (Some(_), 1) => {
                    self.delete(number).await;
                    self.create(number).await;
                }
                (Some(_), _) => self.move_away(number).await,
            }
        }
        self.there
            .iter()
            .flatten()
            .map(|(subnet, address)| (subnet_of(*subnet), address_of(*address)))
            .collect()
    }

    async fn create(&mut self, number: usize) {
        let nth = self.random.below(self.free.len());
        let subnet = *self.free.iter().nth(nth).unwrap();
        self.free.remove(&subnet);
        let address = self.random.below(60_000);
        let object = node(&name_of(number), &subnet_of(subnet), &address_of(address));
        let object: Node = serde_json::from_value(object).unwrap();
        self.api.create(&PostParams::default(), &object).await.unwrap();
        self.there[number] = Some((subnet, address));
    }

    async fn delete(&mut self, number: usize) {
        self.api.delete(&name_of(number), &DeleteParams::default()).await.unwrap();
        let (subnet, _) = self.there[number].take().unwrap();
        self.free.insert(subnet);
    }

    /// Another address under the same UID.
    async fn move_away(&mut self, number: usize) {
        let mut object = self.api.get_status(&name_of(number)).await.unwrap();
        let address = self.random.below(60_000);
        let addresses = object.status.as_mut().unwrap().addresses.as_mut().unwrap();
        addresses[0].address = address_of(address);
        self.api.replace_status(&name_of(number), &PostParams::default(), &object).await.unwrap();
        self.there[number].as_mut().unwrap().1 = address;
    }
}

fn name_of(number: usize) -> String {
    format!("n{number}")
}

fn subnet_of(number: usize) -> String {
    format!("10.{}.{}.0/24", 128 + number / 256, number % 256)
}

fn address_of(number: usize) -> String {
    format!("172.16.{}.{}", number / 256, number % 256)
}

/// Marsaglia's xorshift, so that each run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
