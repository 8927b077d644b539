//! Messages of [`footbridge_cni::protocol`] on a Unix socket, with the descriptor that may come with one.

use footbridge_cni::protocol;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::io::{AsyncReadExt, Interest};

/// Send a message, and a descriptor with its first bytes.
pub(super) fn send(
    stream: &mut UnixStream,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let frame = frame(message)?;
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let sent = sendmsg(&*stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    // The descriptor went with the first byte; the rest may take more than one call.
    stream.write_all(frame.get(sent..).unwrap_or_default())
}

/// A message as it goes on the socket.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the message is too long");
    let mut frame = protocol::head(text.len()).ok_or_else(too_long)?.to_vec();
    frame.extend(text);
    Ok(frame)
}

/// Receive a message's text, and the descriptor that came with it.
pub(super) async fn receive(stream: &mut tokio::net::UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut head = [0; 4];
    let (mut got, mut descriptor) = (0, None);
    while got < head.len() {
        stream.readable().await?;
        let read = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut head[got..])];
            let received = recvmsg(&*stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    descriptor = descriptors.last().or(descriptor.take());
                }
            }
            Ok(received.bytes)
        });
        got += match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
    }
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the message is too long");
    let length = protocol::length(head).ok_or_else(too_long)?;
    // What is said to come may never come: memory is taken as it does.
    let mut text = Vec::new();
    stream.take(length as u64).read_to_end(&mut text).await?;
    if text.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((text, descriptor)) }
}
