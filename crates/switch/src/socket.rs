//! Unix sockets that have a name: the control socket's, the OpenFlow server's, and those of others above.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a socket can't be listened on.
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

/// A listening socket and its file, which goes with it.
pub struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl SocketFile {
    /// Listen at `path`, for its owner only. A socket that a dead process left there is replaced; it
    /// appears under its name only when it is ready and has its mode.
    pub fn listen(path: &Path) -> Result<SocketFile, ServerError> {
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
        Ok(SocketFile { listener, path: path.to_owned() })
    }

    /// A handle of the listener that doesn't block, for an asynchronous runtime.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.set_nonblocking(true)?;
        self.listener.try_clone()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket was gone already");
        }
    }
}

/// How often somebody is met there before he is taken for alive. One that was killed while it started a program has left a
/// child, which holds the socket for as long as it takes to become that program.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Refuse where somebody listens at `path`, or where it is no socket.
fn refuse_living(path: &Path) -> Result<(), ServerError> {
    let path = path.to_owned();
    match std::fs::symlink_metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ServerError::Listen { path, source }),
        Ok(file) if !file.file_type().is_socket() => return Err(ServerError::NotASocket { path }),
        Ok(_) => {}
    }
    for _ in 0..LOOKS {
        match UnixStream::connect(&path) {
            Ok(_) => std::thread::sleep(BETWEEN_LOOKS),
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                return Ok(());
            }
            Err(source) => return Err(ServerError::Listen { path, source }),
        }
    }
    Err(ServerError::InUse { path })
}
