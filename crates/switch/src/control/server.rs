//! The bridge's end of the control socket.

use super::protocol::{MAX_REQUEST, Reply, Request, StatusRow};
use super::{ports, rows};
use crate::socket::{ServerError, SocketFile};
use crate::{Bridge, FlowFilter};
use footbridge_datapath::{Error, clock};
use footbridge_openflow::{PortNames, PortNo};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections served at a time; more wait until one ends.
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take to finish a line that it has begun, to begin the next, or to read a
/// reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening control socket. Dropped, it removes the socket's file.
pub struct Server {
    listener: UnixListener,
    bridge: Arc<Bridge>,
    _socket: SocketFile,
}

impl Server {
    /// Listen at `path`, for its owner only. Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a live bridge is there already, or the socket can't be made.
    pub fn bind(path: &Path, bridge: Arc<Bridge>) -> Result<Server, ServerError> {
        let socket = SocketFile::listen(path)?;
        let listen = |source| ServerError::Listen { path: path.to_owned(), source };
        let listener = socket.listener().and_then(UnixListener::from_std).map_err(listen)?;
        Ok(Server { listener, _socket: socket, bridge })
    }

    /// Answer clients, for ever.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let bridge = Arc::clone(&self.bridge);
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, bridge).await {
                            tracing::debug!(%error, "a control client went away");
                        }
                        drop(place);
                    });
                }
                // Out of descriptors, mostly: wait for some to come back.
                Err(error) => {
                    tracing::warn!(%error, "a control client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Serve one client until it hangs up, errs or dawdles.
async fn serve(stream: UnixStream, bridge: Arc<Bridge>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than allowed shows that the line is too long.
        let mut bounded = (&mut read).take(MAX_REQUEST as u64 + 1);
        timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        let complete = line.last() == Some(&b'\n');
        if !complete && line.len() <= MAX_REQUEST {
            return Ok(());
        }
        let reply = if complete {
            let (bridge, request) = (Arc::clone(&bridge), std::mem::take(&mut line));
            // The bridge's calls wait for its thread, so they are no business of this one.
            tokio::task::spawn_blocking(move || answer(&bridge, &request)).await.map_err(io::Error::other)?
        } else {
            error_reply(format!("the request is longer than {MAX_REQUEST} bytes"))
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        timeout(PATIENCE, write.write_all(&text)).await??;
        if !complete {
            return Ok(());
        }
    }
}

/// The reply to one line.
fn answer(bridge: &Bridge, line: &[u8]) -> Reply {
    match serde_json::from_slice(line) {
        Ok(request) => carry_out(bridge, request).unwrap_or_else(error_reply),
        Err(error) => error_reply(format!("not a request: {error}")),
    }
}

fn error_reply(message: String) -> Reply {
    Reply::Error { message }
}

fn carry_out(bridge: &Bridge, request: Request) -> Result<Reply, String> {
    let failed = |error: Error| error.to_string();
    Ok(match request {
        Request::Status {} => Reply::Status(StatusRow {
            bridge: bridge.name().to_owned(),
            datapath: bridge.datapath_kind().to_owned(),
            pid: std::process::id(),
            flows: bridge.flow_count(),
            ports: bridge.port_names().iter().count(),
        }),
        Request::Flows { filter, no_names, stats } => {
            let names = bridge.port_names();
            let filter = FlowFilter::parse(&filter, &names).map_err(|error| error.to_string())?;
            let printed = if no_names { PortNames::none() } else { names };
            let flows = bridge.flows(&filter);
            Reply::Flows { flows: flows.iter().map(|flow| rows::flow(flow, &printed, stats)).collect() }
        }
        Request::Ports {} => {
            Reply::Ports { ports: bridge.ports().map_err(failed)?.iter().map(rows::port).collect() }
        }
        Request::Fdb {} => {
            let (names, now) = (bridge.port_names(), clock::now());
            let entries = bridge.fdb().map_err(failed)?;
            Reply::Fdb { entries: entries.iter().map(|entry| rows::fdb(entry, &names, now)).collect() }
        }
        Request::Conntrack { zone } => {
            let now = clock::now();
            let connections = bridge.connections(zone).map_err(failed)?;
            Reply::Conntrack { connections: connections.iter().map(|c| rows::connection(c, now)).collect() }
        }
        Request::AddPort { port } => {
            let PortNo(number) = ports::add_port(bridge, port).map_err(failed)?;
            Reply::PortAdded { number }
        }
        Request::DelPort { port } => match ports::del_port(bridge, &port).map_err(failed)? {
            Some(PortNo(number)) => Reply::PortDeleted { number },
            None => return Err(format!("no port has the name '{port}'")),
        },
        Request::FlushConntrack { zone } => {
            Reply::FlushConntrack { flushed: bridge.flush_connections(zone).map_err(failed)? }
        }
    })
}
