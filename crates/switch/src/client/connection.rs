//! Messages over a stream: sending, receiving, answering echo requests, and never waiting for ever.

use super::error::{Attempt, Failure, Reason};
use super::{Address, ClientError};
use footbridge_openflow::wire::{Context, Framer, Header, Hello, Message, Version, Versions};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

/// Requests are encoded and sent in pieces of about so many bytes, each within the patience.
const PIECE: usize = 64 << 10;
/// While more than this waits to be sent, nothing more is read: echo replies, with a bridge that asks
/// and does not listen.
const BACKLOG: usize = 4 * PIECE;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream to one bridge.
pub(super) struct Connection {
    address: Address,
    stream: Box<dyn Stream>,
    framer: Framer,
    buffer: Vec<u8>,
    outgoing: Outgoing,
    version: Version,
    next_xid: u32,
    patience: Duration,
    lost: bool,
}

/// The transaction ids of one call: its messages have them, and so have their answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transactions {
    first: u32,
    count: u32,
}

/// What a message is to the call of whose transactions it is.
pub(super) enum Taken<T> {
    /// Nothing.
    Ignored,
    /// A part of the answer.
    More,
    /// The end of the answer.
    Done(T),
}

/// A message of one of a call's transactions.
pub(super) struct Answer {
    /// Which of the call's messages it is about, from 0.
    pub(super) index: u32,
    /// Its bytes.
    pub(super) length: usize,
    /// What it says.
    pub(super) message: Message,
}

/// Bytes to be sent.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

/// What reading or writing once came to.
enum Progress {
    Read,
    /// Nothing is left to send.
    Sent,
    SentPart,
}

impl Outgoing {
    /// How many bytes wait.
    fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    /// So many bytes more are sent.
    fn advance(&mut self, count: usize) -> Progress {
        self.sent += count;
        if self.waiting() > 0 {
            return Progress::SentPart;
        }
        self.bytes.clear();
        self.sent = 0;
        Progress::Sent
    }
}

/// What messages of a connection are read and written by.
pub(super) fn context(version: Version) -> Context<'static> {
    Context::client(version)
}

impl Transactions {
    /// A hello's: each end numbers its own.
    const ANY: Transactions = Transactions { first: 0, count: u32::MAX };
    const NONE: Transactions = Transactions { first: 0, count: 0 };

    /// The id of the call's message number `index`, from 0.
    pub(super) fn id(self, index: u32) -> u32 {
        self.first.wrapping_add(index)
    }

    /// The number of the call's last message.
    pub(super) fn last(self) -> u32 {
        self.count.saturating_sub(1)
    }

    /// The number of the call's message that has this id.
    fn index(self, id: u32) -> Option<u32> {
        Some(id.wrapping_sub(self.first)).filter(|index| *index < self.count)
    }
}

impl Connection {
    /// Connect.
    pub(super) async fn open(address: &Address, patience: Duration) -> Result<Connection, ClientError> {
        let failed = |why| ClientError::new(address, Attempt::Connect, why);
        let connecting = async {
            Ok::<Box<dyn Stream>, io::Error>(match address {
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Address::Tcp(at) => {
                    let stream = TcpStream::connect(at).await?;
                    // A request waits for its answer: nothing more comes to fill a packet with.
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        let stream = match timeout(patience, connecting).await {
            Err(_) => return Err(failed(Failure::TimedOut { after: patience, pending: 0 })),
            Ok(Err(error)) => {
                return Err(failed(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::NotListening,
                    _ => Failure::Io(error),
                }));
            }
            Ok(Ok(stream)) => stream,
        };
        Ok(Connection {
            address: address.clone(),
            stream,
            framer: Framer::default(),
            buffer: vec![0; PIECE],
            outgoing: Outgoing::default(),
            version: Version::V14,
            next_xid: 1,
            patience,
            lost: false,
        })
    }

    /// Exchange hellos: the versions that the bridge speaks.
    pub(super) async fn greet(&mut self, offer: Versions) -> Result<Versions, ClientError> {
        let hello = Hello::offering(offer).encode(self.reserve(1).id(0)).map_err(Failure::Encode);
        self.exchange(Attempt::Connect, Transactions::ANY, std::iter::once(hello), |answer| {
            Ok(match answer.message {
                Message::Hello(hello) => Taken::Done(hello.versions()),
                Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                _ => Taken::Ignored,
            })
        })
        .await
    }

    /// Settle on the version of both sets; whether there is one.
    pub(super) fn agree(&mut self, offer: Versions, spoken: Versions) -> bool {
        let version = offer.negotiate(spoken);
        self.version = version.unwrap_or(self.version);
        version.is_some()
    }

    /// The version agreed on.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Transaction ids for so many messages, in order.
    pub(super) fn reserve(&mut self, count: u32) -> Transactions {
        let transactions = Transactions { first: self.next_xid, count };
        self.next_xid = self.next_xid.wrapping_add(count);
        transactions
    }

    /// An error of a call on this connection.
    pub(super) fn error(&self, attempt: Attempt, why: Failure) -> ClientError {
        ClientError::new(&self.address, attempt, why)
    }

    /// Send `requests`, and hand what is answered to `transactions` to `take` until it has all it wants.
    /// Messages of other transactions are passed over, even such as can't be read.
    ///
    /// The patience begins anew with each part of the answer, and with each piece of the requests that
    /// is sent. Nothing else counts, so a bridge can't draw it out.
    pub(super) async fn exchange<T>(
        &mut self,
        attempt: Attempt,
        transactions: Transactions,
        requests: impl Iterator<Item = Result<Vec<u8>, Failure>>,
        take: impl FnMut(Answer) -> Result<Taken<T>, Failure>,
    ) -> Result<T, ClientError> {
        if self.lost {
            return Err(self.error(attempt, Failure::Lost));
        }
        let outcome = self.attempt(transactions, requests, take).await;
        outcome.map_err(|why| {
            self.lost = why.ends_connection();
            self.error(attempt, why)
        })
    }

    async fn attempt<T>(
        &mut self,
        transactions: Transactions,
        requests: impl Iterator<Item = Result<Vec<u8>, Failure>>,
        mut take: impl FnMut(Answer) -> Result<Taken<T>, Failure>,
    ) -> Result<T, Failure> {
        let mut requests = requests.fuse();
        let mut deadline = Instant::now() + self.patience;
        loop {
            if self.outgoing.waiting() == 0 {
                while self.outgoing.waiting() < PIECE
                    && let Some(request) = requests.next()
                {
                    self.outgoing.push(&request?);
                }
            }
            while let Some(answer) = self.next_answer(transactions)? {
                match take(answer)? {
                    Taken::Ignored => {}
                    Taken::More => deadline = Instant::now() + self.patience,
                    Taken::Done(all) => return Ok(all),
                }
            }
            match timeout_at(deadline, self.progress()).await {
                Ok(Ok(Progress::Sent)) => deadline = Instant::now() + self.patience,
                Ok(Ok(Progress::Read | Progress::SentPart)) => {}
                Ok(Err(why)) => return Err(why),
                Err(_) => {
                    let pending = self.framer.pending();
                    return Err(Failure::TimedOut { after: self.patience, pending });
                }
            }
        }
    }

    /// Answer echo requests until the bridge hangs up, or says what is no OpenFlow. May be dropped at any
    /// time.
    pub(super) async fn closed(&mut self) -> ClientError {
        let why = loop {
            if self.lost {
                break Failure::Lost;
            }
            if let Err(why) = self.next_answer(Transactions::NONE) {
                break why;
            }
            if let Err(why) = self.progress().await {
                break why;
            }
        };
        self.lost = true;
        self.error(Attempt::Watch, why)
    }

    /// The next whole message of one of the transactions. Takes all that came before it, and answers the
    /// echo requests among that.
    fn next_answer(&mut self, transactions: Transactions) -> Result<Option<Answer>, Failure> {
        while let Some(bytes) = self.framer.next_message()? {
            let (header, message) = match Message::decode(bytes, context(self.version)) {
                Ok((header, message)) => (header, Ok(message)),
                Err(refusal) => match Header::decode(bytes) {
                    Ok((header, _)) => (header, Err(refusal)),
                    // Not with what the framer cut.
                    Err(refusal) => return Err(Failure::Unreadable(refusal)),
                },
            };
            match (transactions.index(header.xid), message) {
                (_, Ok(Message::EchoRequest(payload))) => {
                    let reply = Message::EchoReply(payload).encode(context(self.version), header.xid);
                    self.outgoing.push(&reply.map_err(Failure::Encode)?);
                }
                (Some(index), Ok(message)) => {
                    return Ok(Some(Answer { index, length: header.length.into(), message }));
                }
                (Some(_), Err(refusal)) => return Err(Failure::Unreadable(refusal)),
                (None, message) => tracing::debug!(bridge = %self.address, ?message, "passed over"),
            }
        }
        Ok(None)
    }

    /// Read or write once, whichever can be done first.
    async fn progress(&mut self) -> Result<Progress, Failure> {
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let waiting = self.outgoing.waiting();
        tokio::select! {
            count = read.read(&mut self.buffer), if waiting < BACKLOG => match count {
                Ok(0) => Err(Failure::HungUp { pending: self.framer.pending() }),
                Ok(count) => {
                    self.framer.push(&self.buffer[..count]);
                    Ok(Progress::Read)
                }
                Err(error) if has_hung_up(&error) => {
                    Err(Failure::HungUp { pending: self.framer.pending() })
                }
                Err(error) => Err(Failure::Io(error)),
            },
            count = write.write(self.outgoing.rest()), if waiting > 0 => match count {
                Ok(count) => Ok(self.outgoing.advance(count)),
                // Perhaps it said why before it hung up: that is still to be read.
                Err(error) if has_hung_up(&error) => {
                    self.outgoing = Outgoing::default();
                    Ok(Progress::SentPart)
                }
                Err(error) => Err(Failure::Io(error)),
            },
        }
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
