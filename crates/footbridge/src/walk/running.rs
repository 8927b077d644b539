//! A running bridge, asked by its control socket.

use super::{Bridge, Dump, Groups};
use footbridge_openflow::{PortNames, PortNo};
use footbridge_switch::control::{Client, Reply, Request};
use std::collections::BTreeMap;

impl Bridge {
    /// The bridge at the other end of a control socket, as it is now; `name` is what errors call it.
    ///
    /// # Errors
    /// It does not answer, or has flows that can't be read; in words.
    pub(crate) fn running(
        client: &mut Client,
        name: &str,
        gateway: &str,
        tunnel: &str,
    ) -> Result<Bridge, String> {
        let mut ask = |request: &Request| client.ask(request).map_err(|error| format!("{name}: {error}"));
        let Reply::Ports { ports } = ask(&Request::Ports {})? else {
            return Err(format!("{name}: no ports"));
        };
        let names: PortNames = ports.iter().map(|port| (PortNo(port.number), port.name.clone())).collect();
        let request = Request::Flows { filter: String::new(), no_names: false, stats: false };
        let Reply::Flows { flows } = ask(&request)? else { return Err(format!("{name}: no flows")) };
        let text: String = flows.iter().map(|flow| flow.text.clone() + "\n").collect();
        let dump = Dump {
            flows: &text,
            file: name,
            tunnel,
            gateway,
            tables: None,
            groups: &Groups::default(),
            buckets: &BTreeMap::new(),
        };
        Bridge::read_partly(&dump, names).map_err(|error| error.to_string())
    }
}
