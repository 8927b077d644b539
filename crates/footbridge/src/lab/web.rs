//! The pods' web server: HTTP/1.1 (RFC 9112), one fixed answer to every request.
//!
//! A request's head may have 8 KiB and take 10 s; whatever is wrong with it, only its own connection
//! ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEAD_LIMIT: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// Answer on all `ports` until the process ends.
pub(crate) async fn serve(ports: &[u16], body: &str) -> io::Result<()> {
    let answer = answer(body);
    let mut listeners = tokio::task::JoinSet::new();
    for port in ports {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, *port))
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("listen on port {port}: {e}")))?;
        listeners.spawn(accept(listener, answer.clone()));
    }
    while listeners.join_next().await.is_some() {}
    Ok(())
}

async fn accept(listener: TcpListener, answer: String) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    // A client that goes away in the middle is its own affair.
                    let _outcome = tokio::time::timeout(PATIENCE, converse(stream, &answer)).await;
                });
            }
            // Out of file descriptors, or the client was gone before: wait, go on.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What a pod's server says of itself, in the article's words.
pub(crate) fn greeting(pod: &str, address: Ipv4Addr, prefix: u8) -> String {
    format!("Praqma Network MultiTool (with NGINX) - {pod} - {address}/{prefix}\n")
}
