//! What `footbridge walk` takes when a packet goes across nodes.

use crate::story::{Files, Flow};
use clap::Args;
use footbridge_node::cluster::Cluster;
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// Of a packet that goes across nodes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Across nodes")]
pub(crate) struct Across {
    /// The lab whose nodes it goes through, where no dumps are given
    #[arg(long, value_name = "LAB", conflicts_with = "flows")]
    lab: Option<String>,
    /// A node's routes, as `ip route` prints them
    #[arg(long, value_name = "NODE=FILE")]
    routes: Vec<String>,
    /// A node's neighbours, as `ip neigh` prints them; without, the host asks for each
    #[arg(long, value_name = "NODE=FILE")]
    neighbours: Vec<String>,
    /// The cluster's Nodes, Pods and Services: who is called what, and where services lead
    #[arg(long, value_name = "FILE", conflicts_with = "lab")]
    cluster: Option<PathBuf>,
    /// Which endpoint of the service it gets; without, the lowest
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) endpoint: Option<SocketAddrV4>,
    /// The port it is sent from
    #[arg(long, value_name = "PORT", default_value_t = 40000)]
    source_port: u16,
    /// Each bridge's part with every action
    #[arg(long)]
    pub(crate) full: bool,
}

impl Across {
    /// The lab's name.
    pub(crate) fn lab(&self) -> &str {
        self.lab.as_deref().unwrap_or("article")
    }

    /// The cluster, where it is given.
    pub(crate) fn cluster(&self) -> Result<Option<Cluster>, String> {
        self.cluster.as_deref().map(Cluster::load).transpose().map_err(|error| error.to_string())
    }

    /// What is given of one node, as `read` finds it.
    pub(crate) fn files(
        &self,
        read: impl Fn(&[String]) -> Result<Option<String>, String>,
    ) -> Result<Files, String> {
        Ok(Files { routes: read(&self.routes)?, neighbours: read(&self.neighbours)? })
    }

    /// Where to, and what: `backendsvc:80`, `10.96.0.10:53/udp`, `backend2` for a ping, `who-has 10.222.2.1`.
    pub(crate) fn ends(&self, to: &str) -> Result<(String, Flow), String> {
        if let Some(address) = to.strip_prefix("who-has ") {
            return Ok((address.trim().to_owned(), Flow::WhoHas));
        }
        let Some((name, rest)) = to.rsplit_once(':') else { return Ok((to.to_owned(), Flow::Ping)) };
        let (port, protocol) = match rest.split_once('/') {
            None | Some((_, "tcp")) => (rest.trim_end_matches("/tcp"), 6),
            Some((port, "udp")) => (port, 17),
            Some((_, other)) => return Err(format!("'{to}': expected tcp or udp, found '{other}'")),
        };
        let destination = port.parse().map_err(|_| format!("'{to}': expected a port, found '{port}'"))?;
        Ok((name.to_owned(), Flow::Transport { protocol, source: self.source_port, destination }))
    }
}
