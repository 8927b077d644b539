//! An OpenFlow client: programs and reads a bridge of somebody else's, Open vSwitch's most of all.
//!
//! # Contract
//!
//! * [`Client::bundle`] is atomic: every change takes effect, in order, or none does, and the error names
//!   the first one that the bridge refused (OpenFlow 1.4.1 §7.3.9; in 1.3 ONF's extension 230).
//! * Speaks OpenFlow 1.4, else 1.3, and 1.5 with a bridge that has nothing else. 1.4 comes first because
//!   Open vSwitch gives flows back in it just as they were written; what another version would change
//!   in them, [`Client::given_back`] tells.
//! * A bridge that stalls, hangs up, or says what is no OpenFlow is an error within the patience that the
//!   client was given, however it spreads its bytes. Echo requests are answered meanwhile.
//! * Memory is bounded: one message each way in pieces, and replies up to [`MAX_REPLY`] bytes.
//! * Nothing panics on what the bridge says.
//!
//! A call must be awaited to its end; only [`Client::closed`] may be dropped at any time. After an error
//! by which the stream is lost ([`Failure::ends_connection`]) every later call fails at once: connect
//! again.

mod address;
mod connection;
mod error;
mod flow_mods;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use error::{ClientError, Failure, Reason, RefusedChange};

use crate::{FlowFilter, FlowMod};
use connection::{Connection, Taken, Transactions};
use error::Attempt;
use footbridge_openflow::wire::bundle::flag;
use footbridge_openflow::wire::stats::{FlowEntry, PortStats, ReplyBody, StatsReply, StatsRequest};
use footbridge_openflow::wire::{
    BundleAdd, BundleCommand, BundleControl, ErrorCode, ErrorKind, Message, Port, Refusal, TlvCommand,
    TlvMapping, TlvTable, TlvTableMod, Version, Versions,
};
use footbridge_openflow::{Flow, PortNo};
use std::time::Duration;

/// How long a bridge may take for the next part of an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of one reply that are read: about a million flows.
pub const MAX_REPLY: usize = 256 << 20;

/// What is offered, in the order in which it is tried: one HELLO can't ask for 1.4 rather than 1.5.
const OFFERS: [&[Version]; 2] = [&[Version::V13, Version::V14], &[Version::V15]];

/// The one bundle that is open at a time.
const BUNDLE: u32 = 1;
const BUNDLE_FLAGS: u16 = flag::ATOMIC | flag::ORDERED;

/// A connection to one bridge.
pub struct Client {
    connection: Connection,
    max_reply: usize,
}

impl Client {
    /// Connect, and agree on a version. `patience` is how long the bridge may take for each part of
    /// an answer; [`PATIENCE`] is usual.
    ///
    /// # Errors
    ///
    /// When nobody is there, or speaks no version that has bundles.
    pub async fn connect(address: &Address, patience: Duration) -> Result<Client, ClientError> {
        let mut spoken = Versions::of(&[]);
        for offer in OFFERS {
            let mut connection = Connection::open(address, patience).await?;
            spoken = connection.greet(Versions::of(offer)).await?;
            if connection.agree(Versions::of(offer), spoken) {
                return Ok(Client { connection, max_reply: MAX_REPLY });
            }
            if !OFFERS.iter().any(|other| Versions::of(other).negotiate(spoken).is_some()) {
                break;
            }
        }
        Err(ClientError::new(address, Attempt::Connect, Failure::Version { spoken }))
    }

    /// The version that is spoken.
    pub fn version(&self) -> Version {
        self.connection.version()
    }

    /// The flows that `filter` takes, with their counters, in the bridge's order.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreadable`] when one of them is beyond what Footbridge's flows can say.
    pub async fn flows(&mut self, filter: &FlowFilter) -> Result<Vec<FlowEntry>, ClientError> {
        let request = StatsRequest::Flow(flow_mods::request(filter));
        self.multipart(Attempt::Flows, request, |body| match body {
            ReplyBody::Flow(_, flows) => Some(flows),
            _ => None,
        })
        .await
    }

    /// The ports, in the bridge's order; LOCAL is among them where the bridge has one.
    ///
    /// # Errors
    ///
    /// When the bridge does not answer.
    pub async fn ports(&mut self) -> Result<Vec<Port>, ClientError> {
        self.multipart(Attempt::Ports, StatsRequest::PortDesc(PortNo::NONE), |body| match body {
            ReplyBody::PortDesc(ports) => Some(ports),
            _ => None,
        })
        .await
    }

    /// Every port's counters.
    ///
    /// # Errors
    ///
    /// When the bridge does not answer.
    pub async fn port_stats(&mut self) -> Result<Vec<PortStats>, ClientError> {
        self.multipart(Attempt::PortStats, StatsRequest::Port(PortNo::NONE), |body| match body {
            ReplyBody::Port(ports) => Some(ports),
            _ => None,
        })
        .await
    }

    /// Make the changes, in order, as one.
    ///
    /// # Errors
    ///
    /// [`Failure::RefusedChange`] when one is refused, [`Failure::Inexpressible`] when one can't be told
    /// in the version spoken; then none is made. Where the bridge stalls or hangs up before it has said
    /// that it made them, it may have made all or none.
    pub async fn bundle(&mut self, changes: &[FlowMod]) -> Result<(), ClientError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.control(BundleCommand::OpenRequest, BundleCommand::OpenReply).await?;
        let outcome = match self.add(changes).await {
            Ok(added) => self.commit(changes, added).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome
            && !error.why.ends_connection()
        {
            // A bundle whose commit failed is gone already; that it can't be discarded is no matter.
            match self.control(BundleCommand::DiscardRequest, BundleCommand::DiscardReply).await {
                Err(second) if second.why.ends_connection() => return Err(second),
                _ => {}
            }
        }
        outcome
    }

    /// Have the bridge read the tunnel option of `wanted` as its field. One that it has stays.
    ///
    /// # Errors
    ///
    /// [`Failure::OptionTaken`] where the option or the field is mapped otherwise already.
    pub async fn map_tunnel_option(&mut self, wanted: TlvMapping) -> Result<(), ClientError> {
        let TlvTable(mapped) = self.tunnel_options().await?;
        if mapped.contains(&wanted) {
            return Ok(());
        }
        let option = |m: &TlvMapping| (m.option_class, m.option_type);
        let taken = mapped.into_iter().find(|m| m.index == wanted.index || option(m) == option(&wanted));
        if let Some(taken) = taken {
            return Err(self
                .connection
                .error(Attempt::TunnelOptions, Failure::OptionTaken { taken, wanted }));
        }
        let change = TlvTableMod { command: TlvCommand::Add, mappings: vec![wanted] };
        let transactions = self.connection.reserve(2);
        let requests = self.encoded([Message::TlvTableMod(change), Message::BarrierRequest], transactions);
        self.connection
            .exchange(Attempt::TunnelOptions, transactions, requests, |answer| {
                Ok(match answer.message {
                    Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                    Message::BarrierReply => Taken::Done(()),
                    _ => Taken::Ignored,
                })
            })
            .await
    }

    /// The mapping of tunnel options to fields that is in force.
    ///
    /// # Errors
    ///
    /// When the bridge has none of Nicira's extensions, or does not answer.
    pub async fn tunnel_options(&mut self) -> Result<TlvTable, ClientError> {
        let transaction = self.connection.reserve(1);
        let request = self.encoded([Message::TlvTableRequest], transaction);
        self.connection
            .exchange(Attempt::TunnelOptions, transaction, request, |answer| {
                Ok(match answer.message {
                    Message::TlvTableReply(reply) => Taken::Done(TlvTable(reply.mappings)),
                    Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                    _ => Taken::Ignored,
                })
            })
            .await
    }

    /// The flow as the bridge gives it back when it was told of `flow`: 1.3 and later have one way to
    /// say what flow text can say in several (`mod_dl_src` is a `set_field`).
    ///
    /// # Errors
    ///
    /// [`Failure::Inexpressible`] where the version can't say it.
    pub fn given_back(&self, flow: &Flow) -> Result<Flow, ClientError> {
        flow_mods::given_back(flow, self.version())
            .map_err(|why| self.connection.error(Attempt::Changes, why))
    }

    /// Wait until the bridge hangs up; why, if it is not that.
    pub async fn closed(&mut self) -> ClientError {
        self.connection.closed().await
    }

    /// One request about the bundle, and its reply.
    async fn control(&mut self, request: BundleCommand, reply: BundleCommand) -> Result<(), ClientError> {
        let transaction = self.connection.reserve(1);
        let request = self.encoded([control(request)], transaction);
        self.connection
            .exchange(Attempt::Changes, transaction, request, |answer| {
                Ok(match answer.message {
                    Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                    Message::BundleControl(control) if control.command == reply => Taken::Done(()),
                    _ => Taken::Ignored,
                })
            })
            .await
    }

    /// Put the changes into the open bundle. Their transactions; the last is the commit's.
    async fn add(&mut self, changes: &[FlowMod]) -> Result<Transactions, ClientError> {
        let of = changes.len();
        let transactions = self.connection.reserve(u32::try_from(of).unwrap_or(u32::MAX).saturating_add(2));
        let barrier = transactions.last() - 1;
        let context = connection::context(self.version());
        let adds = changes.iter().enumerate().map(|(index, change)| {
            let inexpressible = |source| {
                let change = flow_mods::text(change);
                Failure::Inexpressible { index, of, change, source }
            };
            let xid = transactions.id(index as u32);
            let message = flow_mods::to_wire(change, context.version).map_err(inexpressible)?;
            let message = message.encode(context, xid).map_err(inexpressible)?;
            BundleAdd { id: BUNDLE, flags: BUNDLE_FLAGS, message }.encode(context, xid).map_err(inexpressible)
        });
        let end = Message::BarrierRequest.encode(context, transactions.id(barrier)).map_err(Failure::Encode);
        let mut first = None;
        self.connection
            .exchange(Attempt::Changes, transactions, adds.chain([end]), |answer| {
                Ok(match answer.message {
                    Message::Error(error) if answer.index < barrier => {
                        first.get_or_insert_with(|| refused(changes, answer.index, error.kind));
                        Taken::More
                    }
                    Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                    Message::BarrierReply => match first.take() {
                        Some(change) => return Err(Failure::RefusedChange(change)),
                        None => Taken::Done(transactions),
                    },
                    _ => Taken::Ignored,
                })
            })
            .await
    }

    /// Have the bundle take effect. Open vSwitch first says which change failed, by its transaction, and
    /// then that the commit did.
    async fn commit(&mut self, changes: &[FlowMod], added: Transactions) -> Result<(), ClientError> {
        let commit = added.last();
        let context = connection::context(self.version());
        let request = control(BundleCommand::CommitRequest).encode(context, added.id(commit));
        let request = std::iter::once(request.map_err(Failure::Encode));
        let mut first = None;
        self.connection
            .exchange(Attempt::Changes, added, request, |answer| {
                Ok(match answer.message {
                    Message::Error(error) if answer.index < commit => {
                        first.get_or_insert_with(|| refused(changes, answer.index, error.kind));
                        Taken::More
                    }
                    Message::Error(error) => match first.take() {
                        Some(change) => return Err(Failure::RefusedChange(change)),
                        None => return Err(Failure::Refused(Reason(error.kind))),
                    },
                    Message::BundleControl(control) if control.command == BundleCommand::CommitReply => {
                        Taken::Done(())
                    }
                    _ => Taken::Ignored,
                })
            })
            .await
    }

    /// All parts of the reply to one statistics request.
    async fn multipart<T>(
        &mut self,
        attempt: Attempt,
        request: StatsRequest,
        entries: impl Fn(ReplyBody) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, ClientError> {
        let transaction = self.connection.reserve(1);
        let request = self.encoded([Message::StatsRequest(request)], transaction);
        let limit = self.max_reply;
        let (mut all, mut left) = (Vec::new(), limit);
        self.connection
            .exchange(attempt, transaction, request, |answer| {
                let StatsReply { more, body } = match answer.message {
                    Message::StatsReply(reply) => reply,
                    Message::Error(error) => return Err(Failure::Refused(Reason(error.kind))),
                    _ => return Ok(Taken::Ignored),
                };
                left = left.checked_sub(answer.length).ok_or(Failure::TooLong { limit })?;
                let other = Refusal::new(ErrorCode::BrcBadStat, "a reply to another question");
                all.extend(entries(body).ok_or(Failure::Unreadable(other))?);
                Ok(if more { Taken::More } else { Taken::Done(std::mem::take(&mut all)) })
            })
            .await
    }

    /// The requests, one for each of the transactions.
    fn encoded<const N: usize>(
        &self,
        requests: [Message; N],
        transactions: Transactions,
    ) -> impl Iterator<Item = Result<Vec<u8>, Failure>> + use<N> {
        let context = connection::context(self.version());
        let encode = move |(index, request): (u32, Message)| {
            request.encode(context, transactions.id(index)).map_err(Failure::Encode)
        };
        (0..).zip(requests).map(encode)
    }
}

fn control(command: BundleCommand) -> Message {
    Message::BundleControl(BundleControl { id: BUNDLE, command, flags: BUNDLE_FLAGS })
}

/// The bridge's error about one of the changes; every index it may have is one of theirs.
fn refused(changes: &[FlowMod], index: u32, kind: ErrorKind) -> RefusedChange {
    let change = changes.get(index as usize).map_or_else(String::new, flow_mods::text);
    RefusedChange { index: index as usize, of: changes.len(), change, reason: Reason(kind) }
}
