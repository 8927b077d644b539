//! The agent's end of the CNI's socket: `<run_dir>/cni.sock`, mode 0600, in a directory of mode 0700.

use super::service::Service;
use super::transport;
use footbridge_cni::protocol::Reply;
use footbridge_cni::{Call, Code, Error, Request};
use footbridge_switch::socket::{ServerError, SocketFile};
use nix::unistd::Uid;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The socket's name in the run directory.
pub const SOCKET: &str = "cni.sock";
/// Calls carried out at a time; more wait.
const MAX_CALLS: usize = 64;
/// How long a client may take to say what it wants, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listening socket. Dropped, it removes the socket's file.
pub struct CniServer {
    listener: UnixListener,
    _socket: SocketFile,
}

impl CniServer {
    /// Listen at `path`, for its owner only, within a tokio runtime.
    ///
    /// # Errors
    /// Another listens there, or the socket can't be made.
    pub fn bind(path: &Path) -> Result<CniServer, ServerError> {
        let socket = SocketFile::listen(path)?;
        let listen = |source| ServerError::Listen { path: path.to_owned(), source };
        let listener = socket.listener().and_then(UnixListener::from_std).map_err(listen)?;
        Ok(CniServer { listener, _socket: socket })
    }

    /// Answer calls, for ever.
    pub async fn run(self, service: Arc<Service>) {
        let places = Arc::new(Semaphore::new(MAX_CALLS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let service = Arc::clone(&service);
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, &service).await {
                            tracing::debug!(%error, "a CNI client went away");
                        }
                        drop(place);
                    });
                }
                // Out of descriptors, mostly: wait for some to come back.
                Err(error) => {
                    tracing::warn!(%error, "a CNI client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(mut stream: UnixStream, service: &Service) -> io::Result<()> {
    // The socket's mode says the same; a directory that was opened up would not.
    let asker = Uid::from_raw(stream.peer_cred()?.uid());
    if !asker.is_root() && asker != Uid::effective() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (text, netns) = timeout(PATIENCE, transport::receive(&mut stream)).await??;
    let reply = match answer(service, &text, netns).await {
        Ok(done) => done,
        Err(error) => {
            tracing::warn!(code = error.code(), "a CNI call failed: {error}");
            Reply::Failed(error)
        }
    };
    timeout(PATIENCE, stream.write_all(&transport::frame(&reply)?)).await?
}

async fn answer(service: &Service, text: &[u8], netns: Option<OwnedFd>) -> Result<Reply, Error> {
    let request: Request = serde_json::from_slice(text).map_err(|error| {
        Error::new(Code::Decode, "that is no request of this version's plugin").with_details(error)
    })?;
    service.answer(Call::parse(&request)?, netns).await.map(Reply::Done)
}
