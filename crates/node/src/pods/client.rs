//! The plugin's end of the agent's socket.

use super::transport;
use footbridge_cni::Request;
use footbridge_cni::protocol::{self, Reply};
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent is listening at {}: is it running?", .0.display())]
    NotRunning(PathBuf),
    /// The connection failed.
    #[error("the agent at {} gave no answer: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Ask the agent at `socket`, and wait `patience` for each step of the answer. With the question goes the pod's
/// network namespace.
///
/// # Errors
/// There is no answer. What was asked for may be done all the same.
pub fn ask(
    socket: &Path,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(socket.to_owned()),
        _ => AskError::Broken { path: socket.to_owned(), source },
    })?;
    exchange(&mut stream, request, netns, patience)
        .map_err(|source| AskError::Broken { path: socket.to_owned(), source })
}

fn exchange(
    stream: &mut UnixStream,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> io::Result<Reply> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    transport::send(stream, request, netns)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the answer is too long");
    let length = protocol::length(head).ok_or_else(too_long)?;
    let mut text = Vec::new();
    stream.take(length as u64).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
