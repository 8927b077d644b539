//! The bridge's end of the control socket.

use super::protocol::{MAX_REQUEST, Reply, Request, StatusRow};
use super::rows;
use crate::{Bridge, FlowFilter};
use footbridge_datapath::{Error, clock};
use footbridge_openflow::PortNames;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
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
    path: PathBuf,
    bridge: Arc<Bridge>,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process answers there.
    #[error("another bridge is running at {}", .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that isn't a socket has the name.
    #[error("{} is there and not a socket: move it away", .path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The socket could not be made.
    #[error("cannot listen at {}: {source}", .path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Server {
    /// Listen at `path`, for its owner only. A socket that a dead process left there is replaced.
    ///
    /// The socket appears under its name only when it is ready and has its mode. Has to be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a live bridge is there already, or the socket can't be made.
    pub fn bind(path: &Path, bridge: Arc<Bridge>) -> Result<Server, ServerError> {
        refuse_living(path)?;
        let failed = |source| ServerError::Listen { path: path.to_owned(), source };
        let mut unready = path.as_os_str().to_owned();
        unready.push(format!(".{}", std::process::id()));
        let unready = PathBuf::from(unready);
        // Perhaps left by a process of the same number that was killed here.
        match std::fs::remove_file(&unready) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&unready).map_err(failed)?;
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&unready, path))
            .map_err(failed)?;
        Ok(Server { listener, path: path.to_owned(), bridge })
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

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the control socket was gone already");
        }
    }
}

/// Refuse where somebody listens at `path`, or where it is no socket.
fn refuse_living(path: &Path) -> Result<(), ServerError> {
    let path = path.to_owned();
    match std::fs::symlink_metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ServerError::Listen { path, source }),
        Ok(file) if !file.file_type().is_socket() => return Err(ServerError::NotASocket { path }),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(&path) {
        Ok(_) => Err(ServerError::InUse { path }),
        Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Err(source) => Err(ServerError::Listen { path, source }),
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
        Request::FlushConntrack { zone } => {
            Reply::FlushConntrack { flushed: bridge.flush_connections(zone).map_err(failed)? }
        }
    })
}
