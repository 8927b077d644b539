//! The thread that serves OpenFlow: listening, dialling controllers, new connections.

use super::connection;
use super::endpoint::Endpoint;
use super::hub::{Hub, Kind};
use super::{describe, limit};
use crate::Bridge;
use crate::socket::{ServerError, SocketFile};
use footbridge_datapath::PortSpec;
use footbridge_openflow::PortNo;
use footbridge_openflow::wire::{Port, PortReason, TlvTable};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// How long to wait before a controller is dialled again: doubled from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// How long dialling may take.
const DIAL: Duration = Duration::from_secs(10);
/// How often devices are looked at for what the bridge isn't told: carriers, addresses.
const LOOK: Duration = Duration::from_millis(500);

/// What to serve, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenFlowConfig {
    /// The switch's id: 48 bits like a MAC address, 16 of the implementer's above.
    pub datapath_id: u64,
    /// A Unix socket for tools, made with mode 0600 (`<bridge>.mgmt`).
    pub socket: Option<PathBuf>,
    /// A Unix socket for those that watch what controllers say (`<bridge>.snoop`).
    pub snoop: Option<PathBuf>,
    /// Where else to listen.
    pub listen: Vec<Endpoint>,
    /// Controllers to dial.
    pub controllers: Vec<Endpoint>,
    /// The tunnel option mapping to begin with.
    pub tlv: TlvTable,
}

impl OpenFlowConfig {
    /// A datapath id for a bridge that was given none: the same at each start, and another for each
    /// host and bridge. Its lower 48 bits are a locally administered MAC address.
    pub fn derived_id(bridge: &str) -> u64 {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let bytes = host.trim().bytes().chain([0]).chain(bridge.bytes());
        // FNV-1a: no secret is kept by it, only names told apart, the same way in every version.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash & 0x0000_00ff_ffff_ffff | 0x0000_0200_0000_0000
    }
}

/// Why OpenFlow is not served.
#[derive(Debug, thiserror::Error)]
pub enum OpenFlowError {
    /// A Unix socket.
    #[error(transparent)]
    Socket(#[from] ServerError),
    /// A TCP port.
    #[error("cannot listen at tcp:{address}: {source}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No thread, or nothing to wait with.
    #[error("cannot serve OpenFlow: {0}")]
    Start(#[source] io::Error),
}

/// A bridge being served. Dropped, it hangs up on all clients and removes the sockets' files.
pub struct OpenFlow {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl OpenFlow {
    /// Serve `bridge` on a thread of its own, in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// When one of the places to listen at can't be had. Controllers that don't answer are dialled
    /// again and again.
    pub fn start(bridge: Arc<Bridge>, config: OpenFlowConfig) -> Result<OpenFlow, OpenFlowError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for (path, kind) in [(&config.socket, Kind::Service), (&config.snoop, Kind::Snoop)] {
            if let Some(path) = path {
                listeners.push(Listener::Unix(SocketFile::listen(path)?, kind));
            }
        }
        for endpoint in &config.listen {
            listeners.push(match endpoint {
                Endpoint::Unix(path) => Listener::Unix(SocketFile::listen(path)?, Kind::Service),
                Endpoint::Tcp(address) => {
                    let failed = |source| OpenFlowError::Listen { address: *address, source };
                    let listener = TcpListener::bind(address).map_err(failed)?;
                    listener.set_nonblocking(true).map_err(failed)?;
                    addresses.push(listener.local_addr().map_err(failed)?);
                    Listener::Tcp(listener)
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenFlowError::Start)?;
        let hub = Hub::new(bridge, config.datapath_id, config.tlv);
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                for listener in listeners {
                    tokio::spawn(listen(listener, Arc::clone(&hub)));
                }
                for controller in config.controllers {
                    tokio::spawn(dial(controller, Arc::clone(&hub)));
                }
                tokio::spawn(watch_devices(hub));
                // Told to stop, or left behind.
                drop(stopped.await);
            });
        };
        let thread = std::thread::Builder::new()
            .name("openflow".to_owned())
            .spawn(serve)
            .map_err(OpenFlowError::Start)?;
        Ok(OpenFlow { stop: Some(stop), thread: Some(thread), addresses })
    }

    /// The TCP addresses listened at, in the order of the configuration: port 0 has become one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            drop(thread.join());
        }
    }
}

enum Listener {
    Unix(SocketFile, Kind),
    Tcp(TcpListener),
}

/// Take up connections, for ever.
async fn listen(listener: Listener, hub: Arc<Hub>) {
    let outcome = match &listener {
        Listener::Unix(socket, kind) => listen_unix(socket, *kind, &hub).await,
        Listener::Tcp(socket) => listen_tcp(socket, &hub).await,
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "OpenFlow is no longer listened for");
    }
}

async fn listen_unix(socket: &SocketFile, kind: Kind, hub: &Arc<Hub>) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.listener()?)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take_up(stream, kind, hub, "a local client".to_owned()),
            Err(error) => pause(&error).await,
        }
    }
}

async fn listen_tcp(socket: &TcpListener, hub: &Arc<Hub>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                hurry(&stream);
                take_up(stream, Kind::Service, hub, peer.to_string());
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of descriptors, mostly: wait for some to come back.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "an OpenFlow client could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Small messages are not to wait for more. Without it everything works, only slower.
fn hurry(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is refused");
    }
}

fn take_up<S>(stream: S, kind: Kind, hub: &Arc<Hub>, peer: String)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Some(client) = hub.enter(kind) else {
        tracing::warn!(peer, "an OpenFlow client is hung up on: {} are connected", limit::CONNECTIONS);
        return;
    };
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let end = connection::serve(stream, hub, client).await;
        tracing::debug!(peer, %end, "an OpenFlow client's connection has ended");
    });
}

/// Keep a controller's connection, for ever.
async fn dial(controller: Endpoint, hub: Arc<Hub>) {
    let (first, last) = BACK_OFF;
    let mut wait = first;
    let mut said = false;
    loop {
        match tokio::time::timeout(DIAL, connect(&controller)).await {
            Ok(Ok(stream)) => {
                tracing::info!(%controller, "controller connected");
                (wait, said) = (first, false);
                let end = match hub.enter(Kind::Controller) {
                    Some(client) => match stream {
                        Stream::Tcp(stream) => connection::serve(stream, Arc::clone(&hub), client).await,
                        Stream::Unix(stream) => connection::serve(stream, Arc::clone(&hub), client).await,
                    },
                    None => connection::End::Closed,
                };
                tracing::warn!(%controller, %end, "controller disconnected; flows stay as they are");
            }
            Ok(Err(error)) if !said => {
                tracing::warn!(%controller, %error, "controller can't be reached; trying on");
                said = true;
            }
            Err(_) if !said => {
                tracing::warn!(%controller, "controller does not answer; trying on");
                said = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(last);
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn connect(endpoint: &Endpoint) -> io::Result<Stream> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            hurry(&stream);
            Ok(Stream::Tcp(stream))
        }
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
    }
}

/// Tell of ports whose devices have changed without anybody's doing, while somebody wants to know.
async fn watch_devices(hub: Arc<Hub>) {
    let mut known: BTreeMap<PortNo, Port> = BTreeMap::new();
    loop {
        if !hub.wants_ports() {
            known.clear();
            hub.look.notified().await;
            continue;
        }
        let specs = hub.bridge.port_specs();
        let now: BTreeMap<PortNo, (Port, PortSpec)> =
            specs.into_iter().map(|spec| (spec.number, (describe::port(&spec), spec))).collect();
        for (number, (port, spec)) in &now {
            // What came or went was told by the bridge.
            if known.get(number).is_some_and(|before| before != port && before.name == port.name) {
                hub.tell_port(spec, PortReason::Modify);
            }
        }
        known = now.into_iter().map(|(number, (port, _))| (number, port)).collect();
        tokio::time::sleep(LOOK).await;
    }
}
