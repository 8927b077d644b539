//! A steady stream of datagrams between two pods, and how many of them come back.
//!
//! The sockets are made inside the pods' namespaces and stay there; the tasks that use them are here.

use crate::lab::LabError;
use crate::lab::plan::PodPlan;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time;

/// Where the far end listens.
const PORT: u16 = 40007;
/// Time between datagrams.
const PACE: Duration = Duration::from_millis(5);
/// How long the last may take to come back.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// How long the first of all may take.
const FIRST: Duration = Duration::from_secs(5);

/// A stream at work; it ends when dropped.
pub(crate) struct Stream {
    sent: Arc<AtomicU64>,
    back: Arc<AtomicU64>,
    sender: JoinHandle<()>,
    others: [JoinHandle<()>; 2],
}

impl Stream {
    /// Send from `from` to `to`, which sends all back.
    pub(crate) async fn start(from: &PodPlan, to: &PodPlan) -> Result<Stream, LabError> {
        let near = socket(from, 0).await?;
        let far = socket(to, PORT).await?;
        near.connect(SocketAddrV4::new(to.address, PORT))
            .await
            .map_err(|e| LabError::io("connect a socket", e))?;
        let near = Arc::new(near);
        let (sent, back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = tokio::spawn(send(Arc::clone(&near), Arc::clone(&sent)));
        let others = [tokio::spawn(receive(near, Arc::clone(&back))), tokio::spawn(echo(far))];
        Ok(Stream { sent, back, sender, others })
    }

    /// End it: how many were sent, and how many of them came back.
    pub(crate) async fn stop(self) -> (u64, u64) {
        self.sender.abort();
        time::sleep(STRAGGLERS).await;
        (self.sent.load(Ordering::Relaxed), self.back.load(Ordering::Relaxed))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sender.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }
}

/// Whether datagrams get from one pod to the other and back; one try, half a second.
pub(crate) async fn reaches(from: &PodPlan, to: &PodPlan) -> Result<bool, LabError> {
    let stream = Stream::start(from, to).await?;
    time::sleep(Duration::from_millis(100)).await;
    let (sent, back) = stream.stop().await;
    Ok(sent > 0 && sent == back)
}

/// How many datagrams are lost until the first comes back; None when none does for a while.
pub(crate) async fn lost_before_the_first(from: &PodPlan, to: &PodPlan) -> Result<Option<u64>, LabError> {
    let stream = Stream::start(from, to).await?;
    let began = time::Instant::now();
    while stream.back.load(Ordering::Relaxed) == 0 {
        if began.elapsed() > FIRST {
            return Ok(None);
        }
        time::sleep(PACE).await;
    }
    let (sent, back) = stream.stop().await;
    Ok(Some(sent - back))
}

async fn socket(pod: &PodPlan, port: u16) -> Result<UdpSocket, LabError> {
    let socket = pod
        .namespace
        .run("make a socket", move || {
            let socket = std::net::UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .await?;
    UdpSocket::from_std(socket).map_err(|e| LabError::io("use a socket", e))
}

async fn send(socket: Arc<UdpSocket>, sent: Arc<AtomicU64>) {
    let mut pace = time::interval(PACE);
    pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let number = sent.load(Ordering::Relaxed);
        // A refused one counts as sent: it did not come back.
        let _refused = socket.send(&number.to_be_bytes()).await;
        sent.store(number + 1, Ordering::Relaxed);
    }
}

async fn receive(socket: Arc<UdpSocket>, back: Arc<AtomicU64>) {
    let mut buffer = [0; 16];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(_) => drop(back.fetch_add(1, Ordering::Relaxed)),
            // An ICMP error for an earlier one; it is missing already.
            Err(_) => time::sleep(PACE).await,
        }
    }
}

async fn echo(socket: UdpSocket) {
    let mut buffer = [0; 16];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let _refused = socket.send_to(&buffer[..length], from).await;
    }
}
