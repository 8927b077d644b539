//! The command line's end of the control socket.

use super::protocol::{Reply, Request};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A blocking client of one bridge.
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is there.
    #[error("no bridge is listening at {}: is the agent running?", .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is somebody else's.
    #[error("{} may not be used by this user: try as root", .path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The bridge did not answer in time.
    #[error("the bridge at {} did not answer within {} s", .path.display(), .after.as_secs_f32())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke.
    #[error("the bridge at {} hung up: {source}", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What came back is no reply: another version, perhaps.
    #[error("the bridge at {} answered with what is no reply ({source}): is it of another version?", .path.display())]
    NotAReply {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The bridge refused.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
    },
}

/// How long a bridge has for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest reply that is read: a million flows have room.
const MAX_REPLY: u64 = 1 << 30;

impl Client {
    /// Connect to the bridge whose control socket is `path`.
    ///
    /// # Errors
    ///
    /// When nobody is there, or may not be asked.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        Client::connect_with_patience(path, PATIENCE)
    }

    /// Connect, and wait `patience` for each answer.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect_with_patience(path: &Path, patience: Duration) -> Result<Client, ClientError> {
        let owned = path.to_owned();
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path: owned.clone() }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted { path: owned.clone() },
            _ => ClientError::Broken { path: owned.clone(), source },
        })?;
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(|source| ClientError::Broken { path: owned.clone(), source })?;
        Ok(Client { path: owned, stream: BufReader::new(stream) })
    }

    /// Ask, and wait for the answer.
    ///
    /// # Errors
    ///
    /// When the bridge refuses ([`Reply::Error`] becomes [`ClientError::Refused`]), or no answer
    /// comes.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let line = self.exchange(request).map_err(|source| self.failed(source))?;
        match serde_json::from_slice(&line) {
            Ok(Reply::Error { message }) => Err(ClientError::Refused { message }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ClientError::NotAReply { path: self.path.clone(), source }),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        self.stream.get_mut().write_all(&text)?;
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_REPLY).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let patience = self.stream.get_ref().read_timeout().ok().flatten();
                ClientError::TimedOut { path, after: patience.unwrap_or(PATIENCE) }
            }
            _ => ClientError::Broken { path, source },
        }
    }
}
