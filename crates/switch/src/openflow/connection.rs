//! Bytes in and out of one connection.
//!
//! A turn first fills the output, as long as there is room, with what the client is owed (the rest of a
//! dump, then events, then answers to messages that have come), then waits for whatever lets it go on.
//! So a client that doesn't read is not read from, and never holds more than some messages' memory.

use super::hub::{Client, Hub, Kind};
use super::limit;
use super::session::{Answer, Overflowed, Session};
use super::statistics::FlowDump;
use footbridge_openflow::wire::{EncodeError, Framer, FramingError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

/// Bytes read at a time.
const READ: usize = 64 << 10;
/// Messages carried out before other connections get their turn.
const TURN: usize = 512;

/// How long a connection stays awake for the next message once one has come. Clients ask one thing after
/// the other, and to be woken up takes longer than most answers.
const EAGER: Duration = Duration::from_micros(100);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client closed it.
    #[error("it was closed")]
    Closed,
    /// The kernel says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no OpenFlow.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// It reads too little.
    #[error(transparent)]
    Overflowed(#[from] Overflowed),
    /// There is no version that both speak.
    #[error("there is no OpenFlow version that both ends speak")]
    Hello,
    /// It took too long.
    #[error("nothing came of it for {} seconds", limit::PATIENCE.as_secs())]
    Stalled,
    /// A controller that does not answer.
    #[error("it does not answer to an echo request")]
    Silent,
    /// What can't happen to a message of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Serve a connection until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, hub: Arc<Hub>, client: Arc<Client>) -> End {
    match Connection::new(hub, client) {
        Ok(connection) => connection.run(stream).await,
        Err(error) => End::Encode(error),
    }
}

struct Connection {
    hub: Arc<Hub>,
    client: Arc<Client>,
    kind: Kind,
    session: Session,
    framer: Framer,
    output: Output,
    /// A reply that is not whole in the output yet.
    dump: Option<FlowDump>,
    hanging_up: bool,
    /// When something was last read, and when the output last became shorter.
    heard: Instant,
    wrote: Instant,
    probed: bool,
}

/// Bytes to be written, and how many of them are.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

/// What a turn ended by.
enum Turn {
    /// There is nothing to do until something happens.
    Done,
    /// There is more to do, after others.
    More,
}

impl Connection {
    fn new(hub: Arc<Hub>, client: Arc<Client>) -> Result<Connection, EncodeError> {
        let session = Session::new(Arc::clone(&hub), Arc::clone(&client));
        let now = Instant::now();
        let kind = client.wants().kind;
        let output = Output { bytes: Session::greeting()?, written: 0 };
        Ok(Connection {
            hub,
            client,
            kind,
            session,
            framer: Framer::default(),
            output,
            dump: None,
            hanging_up: false,
            heard: now,
            wrote: now,
            probed: false,
        })
    }

    async fn run<S: AsyncRead + AsyncWrite>(mut self, stream: S) -> End {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut buffer = vec![0; READ].into_boxed_slice();
        loop {
            let turn = match self.turn() {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            if self.hanging_up && self.output.len() == 0 {
                return End::Hello;
            }
            let client = Arc::clone(&self.client);
            let room = self.has_room();
            tokio::select! {
                biased;
                written = write.write(self.output.waiting()), if self.output.len() > 0 => match written {
                    Ok(0) => return End::Closed,
                    Ok(bytes) => {
                        self.output.wrote(bytes);
                        self.wrote = Instant::now();
                    }
                    Err(error) => return End::Io(error),
                },
                came = read.read(&mut buffer), if room && matches!(turn, Turn::Done) => match came {
                    Ok(0) => return End::Closed,
                    Ok(bytes) => {
                        self.framer.push(&buffer[..bytes]);
                        self.heard = Instant::now();
                        self.probed = false;
                    }
                    Err(error) => return End::Io(error),
                },
                () = client.queue.ready(), if room && matches!(turn, Turn::Done) => {}
                () = tokio::task::yield_now(),
                    if matches!(turn, Turn::More) || self.heard.elapsed() < EAGER => {}
                () = sleep_until(self.deadline()) => {
                    if let Some(end) = self.tick() {
                        return end;
                    }
                }
            }
        }
    }

    /// Fill the output as long as there is room.
    fn turn(&mut self) -> Result<Turn, End> {
        for _ in 0..TURN {
            if !self.has_room() || self.hanging_up {
                return Ok(Turn::Done);
            }
            if let Some(dump) = &mut self.dump {
                let (message, last) = match dump.next_message(&self.hub.bridge) {
                    Ok(next) => next,
                    Err(failure) => {
                        tracing::warn!(client = self.client.id, %failure, "a reply is cut short");
                        self.dump = None;
                        continue;
                    }
                };
                self.send(&message);
                if last {
                    self.dump = None;
                }
                continue;
            }
            if let Some(event) = self.session.next_event() {
                let event = event?;
                self.send(&event);
                continue;
            }
            let Some(message) = self.framer.next_message()? else { return Ok(Turn::Done) };
            if self.kind == Kind::Controller {
                self.hub.snoop(message);
            }
            let Answer { bytes, dump, hang_up } = self.session.handle(message);
            self.dump = dump;
            self.hanging_up = hang_up;
            self.send(&bytes);
        }
        Ok(Turn::More)
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.kind == Kind::Controller && !bytes.is_empty() {
            self.hub.snoop(bytes);
        }
        if self.output.len() == 0 && !bytes.is_empty() {
            // Nothing was owed until now, so that it starts to count from here.
            self.wrote = Instant::now();
        }
        self.output.bytes.extend_from_slice(bytes);
    }

    fn has_room(&self) -> bool {
        self.output.len() < limit::OUTPUT
    }

    /// When to look whether the other end is there.
    fn deadline(&self) -> Instant {
        let patience = |since: Instant| since + limit::PATIENCE;
        let probe = self.heard + if self.probed { limit::PROBE * 2 } else { limit::PROBE };
        match self.kind {
            _ if self.output.len() > 0 => patience(self.wrote),
            _ if !self.session.greeted() => patience(self.heard),
            Kind::Controller => probe,
            // Nothing is asked of those that are only listening.
            Kind::Service | Kind::Snoop => Instant::now() + limit::PATIENCE * 60,
        }
    }

    /// A deadline has passed.
    fn tick(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.output.len() > 0 || !self.session.greeted() {
            let since = if self.output.len() > 0 { self.wrote } else { self.heard };
            return (now >= since + limit::PATIENCE).then_some(End::Stalled);
        }
        if self.kind != Kind::Controller {
            return None;
        }
        if self.probed {
            return (now >= self.heard + limit::PROBE * 2).then_some(End::Silent);
        }
        if now >= self.heard + limit::PROBE {
            self.probed = true;
            let probe = self.session.probe().unwrap_or_default();
            self.send(&probe);
        }
        None
    }
}
