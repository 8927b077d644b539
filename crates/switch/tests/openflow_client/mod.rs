//! A blocking OpenFlow client.

use footbridge_openflow::wire::{Context, ErrorCode, ErrorKind, Framer, Hello, Message, Version, Versions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that can be given a patience.
pub(crate) trait Stream: Read + Write {
    fn patient(&self);
    fn nonblocking(&self, yes: bool);
}

impl Stream for UnixStream {
    fn patient(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    fn nonblocking(&self, yes: bool) {
        self.set_nonblocking(yes).unwrap();
    }
}

impl Stream for TcpStream {
    fn patient(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    fn nonblocking(&self, yes: bool) {
        self.set_nonblocking(yes).unwrap();
    }
}

/// A client that has exchanged hellos.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    framer: Framer,
    version: Version,
}

impl Client {
    pub(crate) fn connect(socket: &Path, version: Version) -> Client {
        Client::greet(UnixStream::connect(socket).unwrap(), version)
    }

    pub(crate) fn greet(stream: impl Stream + 'static, version: Version) -> Client {
        stream.patient();
        let mut client = Client { stream: Box::new(stream), framer: Framer::default(), version };
        client.write(&Hello::offering(Versions::of(&[version])).encode(0).unwrap());
        assert!(matches!(client.read().1, Message::Hello(_)));
        client
    }

    pub(crate) fn context(&self) -> Context<'static> {
        Context::client(self.version)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, message: &Message, xid: u32) {
        let bytes = message.encode(self.context(), xid).unwrap();
        self.write(&bytes);
    }

    /// Send the message again and again, until it is no longer taken or `times` are reached.
    pub(crate) fn flood(&mut self, message: &Message, times: usize) {
        let bytes = message.encode(self.context(), 1).unwrap().repeat(times);
        self.stream.nonblocking(true);
        // Perhaps all of it, perhaps what fits the socket's buffer.
        let _taken = self.stream.write(&bytes);
        self.stream.nonblocking(false);
    }

    /// The next message and its xid.
    pub(crate) fn read(&mut self) -> (u32, Message) {
        let context = self.context();
        loop {
            if let Some(message) = self.framer.next_message().unwrap() {
                let (header, message) = Message::decode(message, context).unwrap();
                return (header.xid, message);
            }
            let mut buffer = [0; 16 << 10];
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server hung up");
            self.framer.push(&buffer[..read]);
        }
    }

    /// Wait until all that was sent is done; the errors that came meanwhile.
    pub(crate) fn barrier(&mut self) -> Vec<ErrorCode> {
        self.send(&Message::BarrierRequest, 0xbaff);
        let mut errors = Vec::new();
        loop {
            match self.read() {
                (0xbaff, Message::BarrierReply) => return errors,
                (_, other) => errors.push(refused(&other).unwrap_or_else(|| panic!("{other:?}"))),
            }
        }
    }

    /// Whether the server hangs up, perhaps after some last words.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok()
    }
}

/// The error that the message is.
pub(crate) fn refused(message: &Message) -> Option<ErrorCode> {
    match message {
        Message::Error(error) => match error.kind {
            ErrorKind::Known(code) => Some(code),
            ErrorKind::Unknown { .. } => panic!("{error:?}"),
        },
        _ => None,
    }
}
