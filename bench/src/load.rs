//! The load: ARP requests and their answers, datagrams, round trips; each from a thread in a pod's namespace.
//!
//! ARP (RFC 826) goes through a packet socket, so that nothing of the pod's own stack is between. What is counted as
//! an answer is a reply whose sender's address is the one asked for.

use crate::switches::Result;
use crate::testbed::{Namespace, Pod};
use footbridge_openflow::MacAddr;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockaddrLike, bind, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ETH_P_ARP: u16 = 0x0806;
/// How long an answer may take before it counts as lost.
const LOST: Duration = Duration::from_millis(50);
/// Frames that a flood hands to the kernel at once.
const BATCH: usize = 64;
const FRAME: usize = 42;

/// Answers in a time, and where one was in flight at a time, how long each took.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    /// Sorted; empty where more than one was in flight.
    latencies: Vec<Duration>,
}

impl Answers {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// The latency, in microseconds, that this part of answers did not exceed.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let at = (self.latencies.len() as f64 * part) as usize;
        let found = self.latencies.get(at.min(self.latencies.len().saturating_sub(1)));
        found.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// An ARP request, broadcast by `sender`.
fn request(sender: Pod, sender_address: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let MacAddr(mac) = sender.mac;
    put(&[0xff; 6]);
    put(&mac);
    put(&ETH_P_ARP.to_be_bytes());
    // Ethernet, IPv4, lengths 6 and 4, request.
    put(&[0, 1, 8, 0, 6, 4, 0, 1]);
    put(&mac);
    put(&sender_address.octets());
    put(&[0; 6]);
    put(&target.octets());
    frame
}

/// Whose address a reply tells, if it is one.
fn answered(frame: &[u8]) -> Option<Ipv4Addr> {
    let reply = frame.get(12..14)? == ETH_P_ARP.to_be_bytes() && frame.get(20..22)? == [0, 2];
    let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    reply.then(|| address.into())
}

/// A packet socket for ARP on `eth0` of the calling thread's namespace.
fn arp_socket() -> Result<Socket> {
    let protocol = Protocol::from(i32::from(ETH_P_ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    let index = usize::try_from(if_nametoindex("eth0")?)?;
    // The kernel's own list of link addresses has one for each device, and its protocol is 0: the socket's stays.
    let address: LinkAddr = nix::ifaddrs::getifaddrs()?
        .filter_map(|entry| entry.address)
        .filter_map(|address| address.as_link_addr().copied())
        .find(|link| link.family() == Some(AddressFamily::Packet) && link.ifindex() == index)
        .ok_or("eth0 has no link address")?;
    bind(socket.as_raw_fd(), &address)?;
    socket.set_recv_buffer_size(4 << 20)?;
    Ok(socket)
}

/// Run in a thread of its own in the namespace.
fn within<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let in_thread = || -> std::result::Result<T, String> {
        namespace.enter().map_err(|e| e.to_string())?;
        work().map_err(|e| e.to_string())
    };
    let outcome = std::thread::scope(|scope| scope.spawn(in_thread).join());
    Ok(outcome.map_err(|_| "a thread of the load panicked")??)
}

/// Ask for `targets` in turn, `in_flight` at a time, for so long.
pub(crate) fn ask(
    namespace: &Namespace,
    sender: Pod,
    targets: &[Ipv4Addr],
    in_flight: usize,
    time: Duration,
) -> Result<Answers> {
    within(namespace, || {
        let mut socket = arp_socket()?;
        socket.set_read_timeout(Some(LOST))?;
        let frames: Vec<_> = targets.iter().map(|target| request(sender, sender.address, *target)).collect();
        let mut answers = Answers::default();
        let mut next = frames.iter().zip(targets).cycle();
        let (begun, mut waiting) = (Instant::now(), 0);
        let mut buffer = [0; 2048];
        while begun.elapsed() < time {
            let asked = Instant::now();
            let mut last = None;
            while waiting < in_flight {
                let Some((frame, target)) = next.next() else { return Err("nobody to ask for".into()) };
                socket.write_all(frame)?;
                (waiting, last) = (waiting + 1, Some(*target));
                answers.sent += 1;
            }
            // One in flight waits for its own answer; of many, the next to come.
            loop {
                match socket.read(&mut buffer) {
                    Ok(length) => match answered(buffer.get(..length).unwrap_or_default()) {
                        Some(address) if in_flight > 1 || last == Some(address) => break,
                        _ => {}
                    },
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        waiting = 0;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if waiting > 0 {
                waiting -= 1;
                answers.answered += 1;
                if in_flight == 1 {
                    answers.latencies.push(asked.elapsed());
                }
            }
        }
        answers.took = begun.elapsed();
        answers.latencies.sort_unstable();
        Ok(answers)
    })
}

/// Who a flood says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sender {
    Honest,
    /// With somebody else's address, in ARP and so in what the guard looks at.
    Spoofed(Ipv4Addr),
}

/// Send requests as fast as they go until `stop`; how many were sent, and how many frames came to the device
/// meanwhile, whether anybody read them or not.
pub(crate) fn flood(
    namespace: &Namespace,
    pod: Pod,
    sender: Sender,
    targets: &[Ipv4Addr],
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Answers> {
    within(namespace, || {
        let socket = arp_socket()?;
        let address = match sender {
            Sender::Honest => pod.address,
            Sender::Spoofed(address) => address,
        };
        let frames: Vec<_> = targets.iter().map(|target| request(pod, address, *target)).collect();
        let batches: Vec<Vec<[IoSlice<'_>; 1]>> = frames
            .iter()
            .cycle()
            .take(frames.len().max(BATCH))
            .map(|frame| [IoSlice::new(frame)])
            .collect::<Vec<_>>()
            .chunks(BATCH)
            .map(<[_]>::to_vec)
            .collect();
        let mut headers: MultiHeaders<LinkAddr> = MultiHeaders::preallocate(BATCH, None);
        let nowhere = [None; BATCH];
        let (before, begun) = (received()?, Instant::now());
        let mut sent = 0;
        for batch in batches.iter().cycle() {
            if stop() {
                break;
            }
            let addresses = nowhere.get(..batch.len()).unwrap_or_default();
            let results =
                sendmmsg(socket.as_raw_fd(), &mut headers, batch, addresses, [], MsgFlags::empty())?;
            sent += results.count() as u64;
        }
        let took = begun.elapsed();
        Ok(Answers { sent, answered: received()? - before, took, latencies: Vec::new() })
    })
}

/// Frames that `eth0` of the calling thread's namespace has received.
fn received() -> Result<u64> {
    let devices = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let eth0 = devices.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let packets = eth0.and_then(|fields| fields.split_whitespace().nth(1)?.parse().ok());
    packets.ok_or_else(|| "eth0 has no counters".into())
}

/// Datagrams sent and received.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) took: Duration,
}

const PORT: u16 = 9000;
/// How often datagrams are collected. A receiver that waited for each would be woken by some senders for every one
/// and by faster ones, which it can't keep up with, never: that would be what is measured.
const COLLECT: Duration = Duration::from_micros(500);

/// Send datagrams of `size` bytes as fast as they go, for so long.
pub(crate) fn datagrams(
    client: &Namespace,
    server: &Namespace,
    to: Ipv4Addr,
    size: usize,
    time: Duration,
) -> Result<Datagrams> {
    let (received, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let receiver = within(server, || {
        let socket = UdpSocket::bind((to, PORT))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    let sent = std::thread::scope(|scope| -> Result<_> {
        scope.spawn(|| {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(COLLECT);
                while receiver.recv(&mut buffer).is_ok() {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let sent = within(client, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((to, PORT))?;
            let (payload, begun) = (vec![0; size], Instant::now());
            let mut sent = 0;
            while begun.elapsed() < time {
                for _ in 0..32 {
                    sent += u64::from(socket.send(&payload).is_ok());
                }
            }
            Ok((sent, begun.elapsed()))
        });
        // What is on its way arrives.
        std::thread::sleep(Duration::from_millis(50));
        over.store(true, Ordering::Relaxed);
        sent
    });
    let (sent, took) = sent?;
    Ok(Datagrams { sent, received: received.into_inner(), took })
}

/// Send a datagram, wait for its echo, and again, for so long.
pub(crate) fn round_trips(
    client: &Namespace,
    server: &Namespace,
    to: Ipv4Addr,
    time: Duration,
) -> Result<Answers> {
    let over = AtomicBool::new(false);
    let echo = within(server, || {
        let socket = UdpSocket::bind((to, PORT))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(socket)
    })?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                if let Ok((length, from)) = echo.recv_from(&mut buffer) {
                    let _lost = echo.send_to(buffer.get(..length).unwrap_or_default(), from);
                }
            }
        });
        let answers = within(client, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((to, PORT))?;
            socket.set_read_timeout(Some(LOST))?;
            let (mut answers, begun) = (Answers::default(), Instant::now());
            let mut buffer = [0; 64];
            while begun.elapsed() < time {
                let asked = Instant::now();
                socket.send(&[0; 18])?;
                answers.sent += 1;
                if socket.recv(&mut buffer).is_ok() {
                    answers.answered += 1;
                    answers.latencies.push(asked.elapsed());
                }
            }
            answers.took = begun.elapsed();
            answers.latencies.sort_unstable();
            Ok(answers)
        });
        over.store(true, Ordering::Relaxed);
        answers
    })
}

/// Bits per second of one TCP stream, by iperf3.
pub(crate) fn tcp(client: &Namespace, server: &Namespace, to: Ipv4Addr, seconds: u64) -> Result<f64> {
    let mut listener = server.command("iperf3");
    listener.args(["-s", "-1"]).stdin(std::process::Stdio::null());
    let mut listener = listener.stdout(std::process::Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    let (to, seconds) = (to.to_string(), seconds.to_string());
    let output = client.exec("iperf3", &["-c", &to, "-t", &seconds, "-J"]);
    if output.is_err() {
        listener.kill()?;
    }
    listener.wait()?;
    let report: serde_json::Value = serde_json::from_str(&output?)?;
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(serde_json::Value::as_f64);
    rate.ok_or_else(|| "iperf3 told no rate".into())
}
