//! What each request is answered.

use super::Asked;
use crate::walk::{Bridge, CtAnswer, Svg, TableNames, input};
use footbridge_switch::control::{Client, Reply, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// An answer, before it is HTTP's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

/// What is served as it is: path, media type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
];

const JSON: &str = "application/json";
/// Nothing but what this program serves; pictures of a walk carry their style with them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answer a request.
pub(super) fn answer(method: &Method, host: Option<&str>, path: &str, query: &str, asked: &Asked) -> Answer {
    if !host.is_none_or(is_here) {
        return Answer::refused(StatusCode::FORBIDDEN, "this page is for this machine's own names");
    }
    if method != Method::GET {
        return Answer::refused(StatusCode::METHOD_NOT_ALLOWED, "there is nothing here but to look");
    }
    if let Some((_, kind, body)) = FILES.iter().find(|(of, _, _)| *of == path) {
        return Answer { status: StatusCode::OK, kind, body: (*body).to_owned() };
    }
    let done = match path {
        "/state" => state(asked),
        "/walk" => walk(query, asked),
        _ => return Answer::refused(StatusCode::NOT_FOUND, "there is no such page"),
    };
    match done {
        Ok(value) => Answer { status: StatusCode::OK, kind: JSON, body: value.to_string() },
        Err(error) => Answer::failed(&error),
    }
}

impl Answer {
    /// Something that was asked for could not be done.
    pub(super) fn failed(why: &str) -> Answer {
        Answer { status: StatusCode::BAD_REQUEST, kind: JSON, body: json!({ "error": why }).to_string() }
    }

    fn refused(status: StatusCode, why: &str) -> Answer {
        Answer { status, ..Answer::failed(why) }
    }

    /// As HTTP.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let builder = Response::builder()
            .status(self.status)
            .header("content-type", self.kind)
            .header("content-security-policy", POLICY)
            .header("x-content-type-options", "nosniff")
            .header("cache-control", "no-store");
        builder.body(Full::new(Bytes::from(self.body))).unwrap_or_default()
    }
}

/// Whether a `Host` is a name of this machine for itself.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| match port.parse::<u16>() {
        Ok(_) => name,
        Err(_) => host,
    });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]" | "")
}

/// Everything that the page shows, as the control socket tells it.
fn state(asked: &Asked) -> Result<Value, String> {
    let mut client = Client::connect(&asked.socket).map_err(|error| error.to_string())?;
    let mut ask = |request: &Request| client.ask(request).map_err(|error| error.to_string());
    let flows = ask(&Request::Flows { filter: String::new(), no_names: false, stats: false })?;
    let Reply::Flows { flows } = flows else { return Err("the bridge tells no flows".to_owned()) };
    let names = match TableNames::are_of_a_node(flows.iter().map(|flow| flow.table)) {
        true => TableNames::of_a_node(),
        false => TableNames::default(),
    };
    let mut tables: Vec<u8> = flows.iter().map(|flow| flow.table).collect();
    tables.sort_unstable();
    tables.dedup();
    let tables: Vec<Value> =
        tables.into_iter().map(|table| json!({ "table": table, "name": names.name(table) })).collect();
    Ok(json!({
        "status": ask(&Request::Status {})?,
        "tables": tables,
        "flows": flows,
        "ports": ask(&Request::Ports {})?,
        "connections": ask(&Request::Conntrack { zone: None })?,
        "addresses": ask(&Request::Fdb {})?,
    }))
}

/// `packet=…&port=…&ct=…`: a walk, with its picture.
fn walk(query: &str, asked: &Asked) -> Result<Value, String> {
    let field = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(of, _)| *of == name).map(|(_, value)| decoded(value)).filter(|value| !value.is_empty())
    };
    let packet = field("packet").ok_or("no packet was given")?;
    let mut client = Client::connect(&asked.socket).map_err(|error| error.to_string())?;
    let bridge = Bridge::running(&mut client, "the bridge", &asked.gateway, &asked.tunnel)?;
    let in_port = field("port").map(|port| input::port(&port, bridge.names())).transpose();
    let in_port = in_port.map_err(|error| error.to_string())?;
    let subject =
        input::subject(&packet, false, in_port, bridge.names()).map_err(|error| error.to_string())?;
    let answers: Vec<CtAnswer> = field("ct")
        .iter()
        .flat_map(|answers| answers.split(' '))
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let (walk, _) = bridge.walk_subject(&subject, &answers, false);
    let text = anstream::adapter::strip_str(&walk.to_string()).to_string();
    Ok(json!({ "text": text, "svg": Svg(&walk).to_string(), "walk": walk }))
}

/// The text that a query's value stands for (percent-encoding, RFC 3986 section 2.1; `+` is a space in queries of forms).
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%').then(|| value.get(at + 1..at + 3)).flatten();
        match (byte, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (_, Some(byte)) => {
                text.push(byte);
                at += 2;
            }
            (b'+', None) => text.push(b' '),
            (byte, None) => text.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { socket: "/nowhere/br-int.ctl".into(), gateway: String::new(), tunnel: String::new() }
    }

    #[test]
    fn only_this_machines_names_and_only_looking_are_answered() {
        let get = |host| answer(&Method::GET, host, "/", "", &asked()).status;
        for here in ["localhost:8087", "127.0.0.1", "[::1]:1", "localhost"] {
            assert_eq!(get(Some(here)), StatusCode::OK, "{here}");
        }
        assert_eq!(get(None), StatusCode::OK);
        for elsewhere in ["evil.example", "127.0.0.1.evil.example:8087", "localhost:x"] {
            assert_eq!(get(Some(elsewhere)), StatusCode::FORBIDDEN, "{elsewhere}");
        }
        let posted = answer(&Method::POST, Some("localhost"), "/walk", "", &asked());
        assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer(&Method::GET, None, "/etc", "", &asked()).status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_bridge_that_does_not_answer_is_an_error_in_words() {
        let state = answer(&Method::GET, None, "/state", "", &asked());
        assert!(state.body.contains("is the agent running?"), "{state:?}");
    }

    #[test]
    fn a_querys_value_is_decoded_whatever_it_is() {
        assert_eq!(decoded("in_port%3D1%2Carp+x"), "in_port=1,arp x");
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded("%e2%82%ac€"), "€€");
    }
}
