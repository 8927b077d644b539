//! `footbridge ui`: a web page of a running bridge.

use crate::cli::{fail, print, show};
use crate::ui::{self, At};
use clap::Args;
use std::process::ExitCode;

/// Serve a page that shows the bridge as it runs: tables with live counters, flows, ports, drops, connections, and a box to
/// walk a packet.
///
/// Whoever can open the page sees what the control socket tells, and can change nothing. It is served on this machine's
/// own address or on a Unix socket, to nobody else.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: show::Which,
    /// Where it is served: a port of 127.0.0.1 (0 for a free one), or unix:PATH
    #[arg(long, value_name = "PORT", default_value = "8087")]
    listen: At,
    /// Which port is the gateway
    #[arg(long, value_name = "NAME", default_value = "antrea-gw0")]
    gateway: String,
    /// Which port is the tunnel
    #[arg(long, value_name = "NAME", default_value = "antrea-tun0")]
    tunnel: String,
}

impl Arguments {
    /// Serve until killed.
    pub(crate) fn run(self) -> ExitCode {
        let asked = ui::Asked { socket: self.which.socket(), gateway: self.gateway, tunnel: self.tunnel };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&format_args!("cannot start: {error}"), 1),
        };
        let told = |place: &str| {
            print(&format!("the page is at {place}\n"));
        };
        match runtime.block_on(ui::serve(&self.listen, asked, told)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        }
    }
}
