//! Captures: packets from one, and what left each port into others.
//!
//! Both forms are read, pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng); pcap is written. Only
//! Ethernet is taken. A packet of a pcapng from an interface that is called like a port came in there; of others the
//! capture does not say.

use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::{Packet, TunnelKey, Verdict};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// When it was captured.
    pub(crate) time: Duration,
    /// It, and where it came in.
    pub(crate) packet: Packet,
}

/// Why a capture can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The file can't be opened, made or written.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// Read, make …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no capture, or a broken one.
    #[error("{}, packet {number}: {source}", .path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// The packet where it breaks, from 1.
        number: usize,
        /// How.
        source: PcapError,
    },
    /// Not of Ethernet.
    #[error("{}: its packets are no Ethernet frames (link type {link:?})", .path.display())]
    NotEthernet {
        /// Which file.
        path: PathBuf,
        /// What they are.
        link: DataLink,
    },
    /// Cut off when captured: what is missing could decide.
    #[error(
        "{}, packet {number}: only {captured} of its {length} bytes were captured: capture whole packets (tcpdump -s 0)",
        .path.display()
    )]
    Cut {
        /// Which file.
        path: PathBuf,
        /// Which packet, from 1.
        number: usize,
        /// Bytes that there are.
        captured: usize,
        /// Bytes that there were.
        length: usize,
    },
    /// It does not say where packets came in.
    #[error("{}, packet {number}: the capture does not say where it came in: give --in-port", .path.display())]
    NoPort {
        /// Which file.
        path: PathBuf,
        /// Which packet, from 1.
        number: usize,
    },
}

/// A frame of a capture: what both forms tell.
struct Raw {
    time: Duration,
    length: usize,
    data: Vec<u8>,
    link: DataLink,
    interface: Option<String>,
}

/// Read a capture; its packets came in on `in_port` where that is given.
///
/// # Errors
/// The first packet that can't be taken, or a file that is no capture.
pub(crate) fn read(
    path: &Path,
    in_port: Option<PortNo>,
    names: &PortNames,
) -> Result<Vec<Captured>, CaptureError> {
    let bytes =
        fs::read(path).map_err(|source| CaptureError::Io { what: "read", path: path.to_owned(), source })?;
    // A pcapng begins with a section header block.
    let frames = match bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        true => read_pcapng(&bytes),
        false => read_pcap(&bytes),
    };
    let frames =
        frames.map_err(|(number, source)| CaptureError::Broken { path: path.to_owned(), number, source })?;
    let taken = |(at, raw): (usize, Raw)| {
        let (number, path) = (at + 1, path.to_owned());
        if raw.link != DataLink::ETHERNET {
            return Err(CaptureError::NotEthernet { path, link: raw.link });
        }
        if raw.data.len() < raw.length {
            return Err(CaptureError::Cut { path, number, captured: raw.data.len(), length: raw.length });
        }
        let named = raw.interface.and_then(|name| names.number(&name));
        let in_port = in_port.or(named).ok_or(CaptureError::NoPort { path, number })?;
        let packet = Packet { in_port, frame: raw.data, tunnel: TunnelKey::default() };
        Ok(Captured { number, time: raw.time, packet })
    };
    frames.into_iter().enumerate().map(taken).collect()
}

type Frames = Result<Vec<Raw>, (usize, PcapError)>;

fn read_pcap(bytes: &[u8]) -> Frames {
    let mut reader = PcapReader::new(bytes).map_err(|error| (1, error))?;
    let link = reader.header().datalink;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| (frames.len() + 1, error))?;
        let (time, length) = (packet.timestamp, packet.orig_len as usize);
        frames.push(Raw { time, length, data: packet.data.into_owned(), link, interface: None });
    }
    Ok(frames)
}

fn read_pcapng(bytes: &[u8]) -> Frames {
    let mut reader = PcapNgReader::new(bytes).map_err(|error| (1, error))?;
    let mut frames: Vec<Raw> = Vec::new();
    loop {
        let number = frames.len() + 1;
        let (interface, time, length, data) = match reader.next_block() {
            None => return Ok(frames),
            Some(Err(error)) => return Err((number, error)),
            Some(Ok(Block::EnhancedPacket(block))) => {
                let length = block.original_len as usize;
                (block.interface_id, block.timestamp, length, block.data.into_owned())
            }
            Some(Ok(Block::SimplePacket(block))) => {
                (0, Duration::ZERO, block.original_len as usize, block.data.into_owned())
            }
            Some(Ok(_)) => continue,
        };
        let described = reader.interfaces().get(interface as usize);
        let described = described.ok_or((number, PcapError::InvalidInterfaceId(interface)))?;
        let name = described.options.iter().find_map(|option| match option {
            InterfaceDescriptionOption::IfName(name) => Some(name.clone().into_owned()),
            _ => None,
        });
        frames.push(Raw { time, length, data, link: described.linktype, interface: name });
    }
}

/// One capture a port, made when the first packet leaves by it.
pub(crate) struct PerPort {
    dir: PathBuf,
    files: BTreeMap<PortNo, PcapWriter<File>>,
}

impl PerPort {
    /// Into this directory, which is made where it is not there.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn into(dir: &Path) -> Result<PerPort, CaptureError> {
        let failed = |source| CaptureError::Io { what: "make", path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        Ok(PerPort { dir: dir.to_owned(), files: BTreeMap::new() })
    }

    /// Write down what left, each frame into its port's file: `NAME.pcap`.
    ///
    /// # Errors
    /// A file can't be made or written.
    pub(crate) fn add(
        &mut self,
        verdict: &Verdict,
        time: Duration,
        names: &PortNames,
    ) -> Result<(), CaptureError> {
        for output in &verdict.outputs {
            let name = super::port_name(output.port, names);
            // A port may be called anything.
            let file: String = name
                .chars()
                .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' })
                .collect();
            let path = self.dir.join(format!("{file}.pcap"));
            let failed = |source| CaptureError::Io { what: "write", path: path.clone(), source };
            let broken = |source| match source {
                PcapError::IoError(source) => failed(source),
                source => CaptureError::Broken { path: path.clone(), number: 0, source },
            };
            let writer = match self.files.entry(output.port) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => {
                    let header = PcapHeader { snaplen: u32::from(u16::MAX) * 4, ..PcapHeader::default() };
                    let made = File::create(&path).map_err(failed)?;
                    none.insert(PcapWriter::with_header(made, header).map_err(broken)?)
                }
            };
            let length = u32::try_from(output.frame.len()).unwrap_or(u32::MAX);
            writer.write_packet(&PcapPacket::new(time, length, &output.frame)).map_err(broken)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use footbridge_pipeline::Output;

    fn names() -> PortNames {
        [(PortNo(1), "eth0"), (PortNo(2), "to/1")].into_iter().collect()
    }

    fn verdict(port: u32, frame: &[u8]) -> Verdict {
        let tunnel = TunnelKey::default();
        let output = Output { port: PortNo(port), frame: frame.to_vec(), tunnel, queue: None };
        Verdict { outputs: vec![output], ..Verdict::default() }
    }

    #[test]
    fn what_left_a_port_is_read_back_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = PerPort::into(dir.path()).unwrap();
        let time = Duration::from_micros(1_500_000);
        files.add(&verdict(1, b"fourteen bytes"), time, &names()).unwrap();
        files.add(&verdict(2, b"sixteen bytes it"), time, &names()).unwrap();
        drop(files);
        let read_back = read(&dir.path().join("eth0.pcap"), Some(PortNo(7)), &names()).unwrap();
        let packet =
            Packet { in_port: PortNo(7), frame: b"fourteen bytes".to_vec(), tunnel: TunnelKey::default() };
        assert_eq!(read_back, [Captured { number: 1, time, packet }]);
        assert!(dir.path().join("to_1.pcap").exists());
        let error = read(&dir.path().join("eth0.pcap"), None, &names()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("packet 1: the capture does not say where it came in: give --in-port")
        );
    }

    /// A section header, an interface called eth0, and one packet of 14 bytes on it.
    fn pcapng() -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let mut body = body.to_vec();
            body.resize(body.len().next_multiple_of(4), 0);
            let length = (12 + body.len() as u32).to_le_bytes();
            [&kind.to_le_bytes()[..], &length, &body, &length].concat()
        };
        let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        let interface = [&[1, 0, 0, 0, 0, 0, 4, 0, 2, 0, 4, 0][..], b"eth0", &[0, 0, 0, 0]].concat();
        let packet = [&[0_u8; 12][..], &[14, 0, 0, 0, 14, 0, 0, 0], b"fourteen bytes"].concat();
        [block(0x0a0d_0d0a, &section), block(1, &interface), block(6, &packet)].concat()
    }

    #[test]
    fn a_pcapng_from_an_interface_called_like_a_port_says_where_packets_came_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.pcapng");
        fs::write(&path, pcapng()).unwrap();
        let captured = read(&path, None, &names()).unwrap();
        let one = captured.first().unwrap();
        assert_eq!((captured.len(), one.packet.in_port), (1, PortNo(1)));
        assert_eq!(one.packet.frame, b"fourteen bytes");
    }

    #[test]
    fn no_file_that_is_cut_off_or_changed_ends_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = PerPort::into(dir.path()).unwrap();
        files.add(&verdict(1, b"fourteen bytes"), Duration::ZERO, &names()).unwrap();
        drop(files);
        let pcap = fs::read(dir.path().join("eth0.pcap")).unwrap();
        let path = dir.path().join("changed");
        for whole in [pcap, pcapng()] {
            for at in 0..whole.len() {
                fs::write(&path, &whole[..at]).unwrap();
                let _ = read(&path, Some(PortNo(1)), &names());
                let mut changed = whole.clone();
                changed[at] ^= 0xff;
                fs::write(&path, &changed).unwrap();
                let _ = read(&path, Some(PortNo(1)), &names());
            }
        }
    }
}
