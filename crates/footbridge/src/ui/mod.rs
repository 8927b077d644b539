//! A page of a running bridge, over HTTP/1.1 (RFC 9112).
//!
//! # Contract
//!
//! * The page, its script and its style are in this program; it loads nothing from elsewhere, and its content security
//!   policy forbids it to.
//! * It only looks: every request is a GET that asks the bridge's control socket, or walks a packet through what that says.
//! * It is served on a loopback address or a Unix socket. A request with a `Host` that is no name of this machine is refused,
//!   so that no page from elsewhere can read it by a name of its own (DNS rebinding).

mod answer;

use answer::answer;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// Where the page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// A port of 127.0.0.1.
    Port(u16),
    /// A Unix socket.
    Socket(PathBuf),
}

/// Which bridge is shown.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its control socket.
    pub(crate) socket: PathBuf,
    /// Its gateway's name.
    pub(crate) gateway: String,
    /// Its tunnel's.
    pub(crate) tunnel: String,
}

/// Why no page can be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the page at {place}: {source}")]
pub(crate) struct UiError {
    place: String,
    source: io::Error,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<At, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(At::Socket(PathBuf::from(path))),
            _ => text.parse().map(At::Port).map_err(|_| format!("'{text}': expected a port or unix:PATH")),
        }
    }
}

/// Serve until killed; `told` hears where once it is so.
///
/// # Errors
/// The address can't be listened on.
pub(crate) async fn serve(at: &At, asked: Asked, told: impl Fn(&str)) -> Result<(), UiError> {
    let asked = Arc::new(asked);
    match at {
        At::Port(port) => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let failed = |source| UiError { place: format!("http://{address}/"), source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            told(&format!("http://{address}/"));
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    attend(stream, &asked);
                }
            }
        }
        At::Socket(path) => {
            let failed = |source| UiError { place: format!("unix:{}", path.display()), source };
            let listener = UnixListener::bind(path).map_err(failed)?;
            told(&format!("unix:{}", path.display()));
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    attend(stream, &asked);
                }
            }
        }
    }
}

/// Answer one client's requests, beside the others'.
fn attend(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, asked: &Arc<Asked>) {
    let asked = Arc::clone(asked);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let asked = Arc::clone(&asked);
            async move { Ok::<_, Infallible>(respond(&request, asked).await) }
        });
        // A client that breaks off has nobody to be told of it.
        let _ended =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn respond(request: &Request<Incoming>, asked: Arc<Asked>) -> Response<Full<Bytes>> {
    let (method, host) = (request.method().clone(), request.headers().get("host").cloned());
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let host = host.and_then(|host| host.to_str().map(str::to_owned).ok());
    // The control socket is asked by a blocking client.
    let answered =
        tokio::task::spawn_blocking(move || answer(&method, host.as_deref(), &path, &query, &asked));
    let answer = answered.await.unwrap_or_else(|_| answer::Answer::failed("the answer could not be made"));
    answer.response()
}
