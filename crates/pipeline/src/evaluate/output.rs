//! Sending packets to ports.

use super::{Live, Run};
use crate::drop_reason::DropReason;
use crate::observer::Choice;
use crate::packet::TunnelKey;
use crate::ports::PortKind;
use crate::verdict::Output;
use footbridge_openflow::PortNo;

impl Run<'_, '_> {
    /// `output`: to a port, or to those that a reserved number stands for.
    pub(super) fn output_to(&mut self, port: PortNo, max_len: Option<u32>) {
        match port {
            PortNo::IN_PORT => self.send(self.in_port(), max_len),
            PortNo::TABLE => self.enter_first(0),
            PortNo::NORMAL => self.normal(),
            PortNo::FLOOD => self.flood(false, max_len),
            PortNo::ALL => self.flood(true, max_len),
            PortNo::CONTROLLER => {
                self.output_to_controller(
                    max_len.and_then(|len| u16::try_from(len).ok()).unwrap_or(u16::MAX),
                );
            }
            port if port == self.in_port() => self.lose(DropReason::BackToInPort),
            port => self.send(port, max_len),
        }
    }

    /// To all ports but the one it came in on; to tunnels only where `tunnels`.
    pub(super) fn flood(&mut self, tunnels: bool, max_len: Option<u32>) {
        let in_port = self.in_port();
        let ports: Vec<PortNo> = (self.around.ports.iter())
            .filter(|(port, kind)| *port != in_port && (tunnels || *kind != PortKind::Tunnel))
            .map(|(port, _)| port)
            .collect();
        if ports.is_empty() {
            return self.lose(DropReason::NormalNoPort);
        }
        self.around.observer.chosen(Choice::Flood);
        for port in ports {
            self.send(port, max_len);
        }
    }

    /// To one port, in_port or not.
    pub(super) fn send(&mut self, port: PortNo, max_len: Option<u32>) {
        let Some(kind) = self.around.ports.kind(port) else { return self.lose(DropReason::NoSuchPort) };
        let Live { frame, key, queue, .. } = &mut self.packet;
        let tunnel = TunnelKey::of(key);
        match kind {
            PortKind::Tunnel if tunnel.destination().is_none() => return self.lose(DropReason::NoTunnelDst),
            PortKind::Tunnel if tunnel.destination() == self.arrived_at => {
                return self.lose(DropReason::TunnelToSelf);
            }
            PortKind::Tunnel | PortKind::Ordinary => {}
        }
        frame.write(key);
        self.around.observer.output(port, key);
        let mut bytes = frame.bytes().to_vec();
        bytes.truncate(max_len.map_or(usize::MAX, |len| usize::try_from(len).unwrap_or(usize::MAX)));
        self.verdict.outputs.push(Output { port, frame: bytes, tunnel, queue: *queue });
    }
}
