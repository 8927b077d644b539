//! `footbridge cni`: the plugin that a container runtime calls.
//!
//! It reads the call, hands it to the node's agent, and prints the answer as the specification (CNI 1.1.0, section 2)
//! wants it: the result or the error as JSON on standard output, exit status 0 or 1. Where no agent answers, DEL is left
//! in the state directory, on disk before the plugin ends, and succeeds.

use crate::lab::record::{RUN, STATE};
use clap::Args;
use footbridge_cni::protocol::Reply;
use footbridge_cni::{Call, Code, Error, MAX_CONFIG, NetworkConfig, Request, Target, Version};
use footbridge_node::pods::client::{AskError, ask};
use footbridge_node::pods::server::SOCKET;
use footbridge_node::pods::{remove_deletion, write_deletion};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The name by which a runtime may call this program without an argument.
pub(crate) const PLUGIN: &str = "footbridge-cni";

/// How long an answer may take: longer than the agent takes to give up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Carry out a call of a container runtime, as a plugin of the CNI.
///
/// The call is in the environment (CNI_COMMAND and others) and on standard input, by the specification 1.1.0; the
/// same program called without an argument, with CNI_COMMAND set, does the same.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

impl Arguments {
    /// One call.
    pub(crate) fn run(self) -> ExitCode {
        run()
    }
}

/// Whether the program was called as a plugin is: without an argument, by its name as one, or with CNI_COMMAND set.
pub(crate) fn called_as_plugin() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let by_name = name.is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == PLUGIN));
    arguments.next().is_none() && (by_name || std::env::var_os("CNI_COMMAND").is_some())
}

/// One call of a runtime.
pub(crate) fn run() -> ExitCode {
    let request = match request() {
        Ok(request) => request,
        Err(error) => return print_error(&error, &Request::default()),
    };
    match answer(&request) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(printed)) => super::print(&format!("{printed}\n")),
        Err(error) => print_error(&error, &request),
    }
}

fn print_error(error: &Error, request: &Request) -> ExitCode {
    // A runtime that has gone hears nothing; the status stays.
    let _unheard = super::print(&format!("{}\n", error.print(request.version())));
    ExitCode::FAILURE
}

/// The environment and standard input.
fn request() -> Result<Request, Error> {
    let name = |name: &str| name.starts_with("CNI_");
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let mut config = String::new();
    let read = io::stdin().lock().take(MAX_CONFIG as u64 + 1).read_to_string(&mut config);
    let unread = |why: String| Error::new(Code::Io, "standard input can't be read").with_details(why);
    read.map_err(|error| unread(error.to_string()))?;
    if config.len() > MAX_CONFIG {
        return Err(unread(format!("it is longer than {MAX_CONFIG} bytes")));
    }
    Ok(Request { environment: variables.filter(|(key, _)| name(key)).collect(), config })
}

fn answer(request: &Request) -> Result<Option<Value>, Error> {
    let asked = |config: &NetworkConfig, netns: Option<&File>| {
        let socket = config.run_dir.as_deref().unwrap_or(Path::new(RUN)).join(SOCKET);
        ask(&socket, request, netns.map(|file| file.as_fd()), PATIENCE)
    };
    let outcome = match Call::parse(request)? {
        Call::Version(asked) => return Ok(Some(Version::print_all(&asked))),
        Call::Add(target, config) | Call::Check(target, config) => {
            asked(&config, Some(&open_namespace(&target)?)).map_err(away)?
        }
        Call::Gc(_, config, _) => asked(&config, None).map_err(away)?,
        Call::Status(config, _) => asked(&config, None).map_err(|error| {
            Error::new(Code::NotAvailable, "this node's agent does not answer").with_details(error)
        })?,
        Call::Del(target, config) => match asked(&config, None) {
            Ok(reply) => reply,
            Err(error) => return leave(request, &target, &config, &error, || asked(&config, None)),
        },
    };
    taken(outcome)
}

fn taken(reply: Reply) -> Result<Option<Value>, Error> {
    match reply {
        Reply::Done(printed) => Ok(printed),
        Reply::Failed(error) => Err(error),
    }
}

/// Leave a DEL for the agent. One that has come meanwhile may have looked before the DEL was there, so it is asked
/// once more.
fn leave(
    request: &Request,
    target: &Target,
    config: &NetworkConfig,
    why: &AskError,
    again: impl FnOnce() -> Result<Reply, AskError>,
) -> Result<Option<Value>, Error> {
    let state_dir = config.state_dir.as_deref().unwrap_or(Path::new(STATE));
    let left = write_deletion(state_dir, &target.attachment, request).map_err(|error| {
        let message = "the agent does not answer, and DEL can't be left for it";
        Error::new(Code::Io, message).with_details(format!("{why}; {error}"))
    })?;
    match again() {
        Ok(reply) => {
            // The agent takes it away, too, when it has found it.
            drop(remove_deletion(&left));
            taken(reply)
        }
        Err(_) => Ok(None),
    }
}

fn open_namespace(target: &Target) -> Result<File, Error> {
    let path = target.netns.as_deref().unwrap_or(Path::new(""));
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("the container's network namespace {} is not there", path.display());
            Error::new(Code::UnknownContainer, message)
        }
        _ => Error::new(Code::InvalidEnvironment, format!("CNI_NETNS {} can't be opened", path.display()))
            .with_details(error),
    })
}

/// The agent is away: it comes back.
fn away(error: AskError) -> Error {
    Error::new(Code::TryAgainLater, "this node's agent does not answer").with_details(error)
}
