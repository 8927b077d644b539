//! ovs-vswitchd's control socket: JSON-RPC, as `ovs-appctl` speaks it, without a process a command.

use serde::Deserialize;
use serde_json::de::{Deserializer, IoRead, StreamDeserializer};
use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a command may take. The longest wait for a busy machine, not for Open vSwitch.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Control {
    stream: UnixStream,
    replies: StreamDeserializer<'static, IoRead<BufReader<UnixStream>>, Reply>,
    calls: u64,
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    result: Option<String>,
    error: Option<Value>,
}

impl Control {
    pub(crate) fn connect(path: &Path) -> Result<Control, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
        let stream = UnixStream::connect(path).map_err(wrong)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
        let reader = BufReader::new(stream.try_clone().map_err(wrong)?);
        Ok(Control { stream, replies: Deserializer::from_reader(reader).into_iter(), calls: 0 })
    }

    /// What the command prints.
    ///
    /// # Errors
    ///
    /// What the command says is wrong, or what is wrong with the connection.
    pub(crate) fn call(&mut self, command: &str, arguments: &[&str]) -> Result<String, String> {
        self.calls += 1;
        let request = json!({ "id": self.calls, "method": command, "params": arguments });
        self.stream.write_all(request.to_string().as_bytes()).map_err(|e| format!("{command}: {e}"))?;
        match self.replies.next() {
            Some(Ok(reply)) if reply.id != self.calls => Err(format!("{command}: an answer to another call")),
            Some(Ok(Reply { error: Some(Value::String(error)), .. })) => Err(error),
            Some(Ok(Reply { error: Some(error), .. })) => Err(error.to_string()),
            Some(Ok(reply)) => Ok(reply.result.unwrap_or_default()),
            Some(Err(error)) => Err(format!("{command}: {error}")),
            None => Err(format!("{command}: ovs-vswitchd hung up")),
        }
    }
}
