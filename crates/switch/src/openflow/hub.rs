//! What the connections of a bridge share, and who of them is told of an event.

use super::limit;
use super::queue::{Event, Queue};
use crate::Bridge;
use crate::events::{FlowChange, FlowEvent, Listener, Origin};
use footbridge_datapath::PortSpec;
use footbridge_openflow::wire::stats::{MonitorFlags, MonitorRequest};
use footbridge_openflow::wire::{ALL_TABLES, AsyncConfig, AsyncMask, PortReason, Role, TlvTable, Version};
use footbridge_openflow::{Action, PortNo};
use footbridge_pipeline::PacketIn;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Notify;

/// What connections share.
pub(super) struct Hub {
    pub(super) bridge: Arc<Bridge>,
    pub(super) datapath_id: u64,
    /// Bytes in all bundles.
    pub(super) bundled: AtomicUsize,
    /// The first client wants to be told of ports: whoever looks at them should look now.
    pub(super) look: Notify,
    common: RwLock<Common>,
    clients: Mutex<Clients>,
}

#[derive(Clone, Default)]
struct Common {
    tlv: Arc<TlvTable>,
    /// OFPC_FRAG_*
    fragments: u16,
    /// The last generation_id of a role request.
    generation: Option<u64>,
}

#[derive(Default)]
struct Clients {
    next: u64,
    all: BTreeMap<u64, Arc<Client>>,
    punting: bool,
    watching: bool,
}

impl Clients {
    /// Whether somebody wants to be told of ports.
    fn watch_ports(&self) -> bool {
        self.all.values().any(|client| {
            let wants = client.wants();
            wants.wants(wants.config.port_status, PortReason::Modify as u8)
        })
    }
}

/// How a connection came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// We dialled it: a controller, which is told of everything unless it says otherwise.
    Controller,
    /// It dialled us: a tool, or a controller, which is told of nothing until it sets a miss_send_len.
    Service,
    /// It only wants to see what controllers say and are told.
    Snoop,
}

/// One connection, as others see it.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) queue: Queue,
    wants: Mutex<Wants>,
}

/// What a connection wants to be told.
#[derive(Debug, Clone)]
pub(super) struct Wants {
    pub(super) kind: Kind,
    /// None until the hellos are exchanged.
    pub(super) version: Option<Version>,
    pub(super) role: Role,
    pub(super) config: AsyncConfig,
    pub(super) controller_id: u16,
    pub(super) miss_send_len: u16,
    pub(super) monitors: BTreeMap<u32, MonitorRequest>,
}

/// OFP_DEFAULT_MISS_SEND_LEN
const DEFAULT_MISS_SEND_LEN: u16 = 128;

impl Wants {
    pub(super) fn new(kind: Kind) -> Wants {
        let miss_send_len = match kind {
            Kind::Controller => DEFAULT_MISS_SEND_LEN,
            Kind::Service | Kind::Snoop => 0,
        };
        Wants {
            kind,
            version: None,
            role: Role::Equal,
            config: default_config(),
            controller_id: 0,
            miss_send_len,
            monitors: BTreeMap::new(),
        }
    }

    /// Whether a message of one kind and reason is wanted.
    fn wants(&self, mask: AsyncMask, reason: u8) -> bool {
        let heeds = match self.kind {
            Kind::Controller => true,
            Kind::Service => self.miss_send_len != 0,
            Kind::Snoop => false,
        };
        let bits = if self.role == Role::Secondary { mask.secondary } else { mask.primary };
        heeds && self.version.is_some() && bits.unwrap_or(0).checked_shr(reason.into()).unwrap_or(0) & 1 == 1
    }

    fn wants_packet_in(&self, packet: &PacketIn) -> bool {
        let Some(version) = self.version else { return false };
        // Since 1.3 a packet that no flow takes is dropped.
        let missed = packet.reason == PacketIn::NO_MATCH && packet.cookie == u64::MAX;
        packet.controller == self.controller_id
            && (!missed || version == Version::V10)
            && self.wants(self.config.packet_in, packet_in_reason(packet, version))
    }

    fn wants_misses(&self) -> bool {
        self.version == Some(Version::V10) && self.wants(self.config.packet_in, PacketIn::NO_MATCH)
    }
}

/// Why the packet is sent, as the version has it: before 1.4 an action is the only other reason, since
/// 1.3 what the table-miss flow sends is a miss.
pub(super) fn packet_in_reason(packet: &PacketIn, version: Version) -> u8 {
    match packet.reason {
        PacketIn::ACTION if packet.table_miss && version != Version::V10 => PacketIn::NO_MATCH,
        3.. if version < Version::V14 => PacketIn::ACTION,
        reason => reason,
    }
}

/// What controllers are told unless they say otherwise: by OFPR_*, OFPPR_*, OFPRR_*. Secondary ones
/// of ports only.
pub(super) fn default_config() -> AsyncConfig {
    let mask = |primary, secondary| AsyncMask { primary: Some(primary), secondary: Some(secondary) };
    AsyncConfig {
        packet_in: mask(0b11_1011, 0),
        port_status: mask(0b111, 0b111),
        flow_removed: mask(0b11_1111, 0),
        role_status: mask(0, 0),
        table_status: mask(0, 0),
        request_forward: mask(0, 0),
    }
}

impl Client {
    pub(super) fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    pub(super) fn new(bridge: Arc<Bridge>, datapath_id: u64, tlv: TlvTable) -> Arc<Hub> {
        let common = Common { tlv: Arc::new(tlv), ..Common::default() };
        let hub = Arc::new(Hub {
            bridge,
            datapath_id,
            bundled: AtomicUsize::new(0),
            look: Notify::new(),
            common: RwLock::new(common),
            clients: Mutex::default(),
        });
        let listener: Arc<dyn Listener> = Arc::<Hub>::clone(&hub);
        hub.bridge.listen(Arc::downgrade(&listener));
        hub
    }

    /// A new connection; None where there are too many.
    pub(super) fn enter(&self, kind: Kind) -> Option<Arc<Client>> {
        let mut clients = self.clients();
        if clients.all.len() >= limit::CONNECTIONS {
            return None;
        }
        let id = clients.next;
        clients.next += 1;
        let client = Arc::new(Client { id, queue: Queue::default(), wants: Mutex::new(Wants::new(kind)) });
        clients.all.insert(id, Arc::clone(&client));
        Some(client)
    }

    pub(super) fn leave(&self, client: &Client) {
        self.clients().all.remove(&client.id);
        self.wants_changed();
    }

    /// After a connection's wants have changed: have the datapath hand over misses, or not, and the ports looked
    /// at by the first that wants to be told, so that what changes from now on is seen as a change.
    pub(super) fn wants_changed(&self) {
        let mut clients = self.clients();
        let watched = clients.watch_ports();
        if watched && !clients.watching {
            self.look.notify_one();
        }
        clients.watching = watched;
        let punt = clients.all.values().any(|client| client.wants().wants_misses());
        if punt == clients.punting {
            return;
        }
        clients.punting = punt;
        drop(clients);
        if let Err(error) = self.bridge.punt_misses(punt) {
            tracing::error!(%error, "packets that no flow takes can't be sent to controllers");
        }
    }

    /// The client becomes the one primary controller.
    pub(super) fn promote(&self, client: &Client) {
        for other in self.clients().all.values().filter(|other| other.id != client.id) {
            let mut wants = other.wants();
            if wants.role == Role::Primary {
                wants.role = Role::Secondary;
                other.queue.push(Event::Demoted);
            }
        }
    }

    /// Take a role request's generation_id: false where it is older than the last.
    pub(super) fn take_generation(&self, new: u64) -> bool {
        let mut common = self.common.write().unwrap_or_else(PoisonError::into_inner);
        // A difference that is negative as a signed number is a step back.
        if common.generation.is_some_and(|last| (new.wrapping_sub(last) as i64) < 0) {
            return false;
        }
        common.generation = Some(new);
        true
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.common().generation
    }

    pub(super) fn tlv(&self) -> Arc<TlvTable> {
        self.common().tlv
    }

    /// Change the tunnel option mapping, or refuse to.
    pub(super) fn change_tlv<E>(
        &self,
        change: impl FnOnce(&TlvTable) -> Result<TlvTable, E>,
    ) -> Result<(), E> {
        let mut common = self.common.write().unwrap_or_else(PoisonError::into_inner);
        common.tlv = Arc::new(change(&common.tlv)?);
        Ok(())
    }

    pub(super) fn fragments(&self) -> u16 {
        self.common().fragments
    }

    pub(super) fn set_fragments(&self, mode: u16) {
        self.common.write().unwrap_or_else(PoisonError::into_inner).fragments = mode;
    }

    /// Show a message of a controller's connection to those that snoop.
    pub(super) fn snoop(&self, message: &[u8]) {
        let mut shared: Option<Arc<[u8]>> = None;
        for client in self.clients().all.values().filter(|client| client.wants().kind == Kind::Snoop) {
            let message = shared.get_or_insert_with(|| message.into());
            client.queue.push(Event::Snooped(Arc::clone(message)));
        }
    }

    /// Whether somebody wants to be told of ports.
    pub(super) fn wants_ports(&self) -> bool {
        self.clients().watch_ports()
    }

    /// The ports changed in a way that the bridge doesn't know of.
    pub(super) fn tell_port(&self, port: &PortSpec, reason: PortReason) {
        let mut shared: Option<Arc<PortSpec>> = None;
        for client in self.clients().all.values() {
            let wants = client.wants();
            if wants.wants(wants.config.port_status, reason as u8) {
                let port = shared.get_or_insert_with(|| Arc::new(port.clone()));
                client.queue.push(Event::Port(Arc::clone(port), reason));
            }
        }
    }

    fn common(&self) -> Common {
        self.common.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Hub {
    fn flows_changed(&self, changes: &mut dyn Iterator<Item = FlowChange>, origin: Option<Origin>) {
        let clients = self.clients();
        // Most changes concern nobody: then they are not even looked at.
        let concerned: Vec<(&Arc<Client>, Wants)> = clients
            .all
            .values()
            .map(|client| (client, client.wants().clone()))
            .filter(|(_, wants)| {
                !wants.monitors.is_empty()
                    || (0..6).any(|reason| wants.wants(wants.config.flow_removed, reason))
            })
            .collect();
        if concerned.is_empty() {
            return;
        }
        let mut told = BTreeSet::new();
        for change in changes {
            for (client, wants) in &concerned {
                if let FlowEvent::Removed(reason, _) = change.event
                    && change.entry.flow.flags.send_flow_rem
                    && wants.wants(wants.config.flow_removed, reason as u8)
                {
                    client.queue.push(Event::FlowRemoved(change.clone()));
                }
                let own = origin.filter(|origin| origin.connection == client.id);
                let mut watching = wants.monitors.values().filter(|m| watches(m, &change)).peekable();
                if watching.peek().is_some() {
                    let abbreviated = own.filter(|_| !watching.any(|monitor| in_full(monitor.flags)));
                    client.queue.push_update(&change, abbreviated.map(|origin| origin.xid));
                    told.insert(client.id);
                }
            }
        }
        let told = concerned.iter().filter(|(client, _)| told.contains(&client.id));
        told.for_each(|(client, _)| client.queue.push(Event::UpdatesEnd));
    }

    fn port_changed(&self, port: &PortSpec, reason: PortReason) {
        self.tell_port(port, reason);
    }

    fn packet_in(&self, packet: &PacketIn) -> bool {
        let mut shared: Option<Arc<PacketIn>> = None;
        let clients = self.clients();
        let wanting = clients.all.values().filter(|client| client.wants().wants_packet_in(packet));
        let taken = wanting.filter(|client| {
            let packet = shared.get_or_insert_with(|| Arc::new(packet.clone()));
            client.queue.push_packet_in(Arc::clone(packet))
        });
        taken.count() > 0
    }
}

/// Whether the monitor is to be told of the change: also of one by which a flow no longer outputs where the
/// monitor watches.
fn watches(monitor: &MonitorRequest, change: &FlowChange) -> bool {
    let MonitorFlags { add, delete, modify, .. } = monitor.flags;
    let kind = match change.event {
        FlowEvent::Added => add,
        FlowEvent::Modified => modify,
        FlowEvent::Removed(..) => delete,
    };
    let before = change.before.as_ref();
    kind && (selects(monitor, &change.entry.flow) || before.is_some_and(|old| selects(monitor, &old.flow)))
}

/// Whether the monitor's own changes are told in full. So Open vSwitch reads OFPFMF_ONLY_OWN, and its client
/// says it for NXFMF_OWN: others' changes are told nevertheless.
fn in_full(flags: MonitorFlags) -> bool {
    flags.no_abbrev || flags.only_own
}

/// Whether the flow is among those that the monitor is about.
pub(super) fn selects(monitor: &MonitorRequest, flow: &footbridge_openflow::Flow) -> bool {
    (monitor.table == ALL_TABLES || monitor.table == flow.table)
        && flow.matching.is_subset_of(&monitor.matching)
        && (monitor.out_port == PortNo::NONE || crate::flow_mod::outputs_to(&flow.actions, monitor.out_port))
        && monitor.out_group.is_none_or(|group| flow.actions.contains(&Action::Group(group)))
}

/// Count bytes that a bundle takes up; false where all bundles together have too many.
pub(super) fn reserve(bundled: &AtomicUsize, bytes: usize) -> bool {
    let fits = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= limit::ALL_BUNDLES_BYTES);
    bundled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
}
