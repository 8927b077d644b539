//! Tracked connections on disk, from a clean stop to the next start.
//!
//! Only needed by a datapath whose connections end with its process. Lines of JSON: a header with
//! the format's version and the kernel's boot id, then a connection a line. Connections expire by a
//! clock that starts at boot, so those of an earlier boot mean nothing and are left out.

use footbridge_datapath::Error;
use footbridge_pipeline::conntrack::Connection;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why connections could not be saved or put back.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file.
    #[error("cannot {attempt} the saved connections in {}: {source}", .path.display())]
    File {
        /// `write`, `read` or `remove`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error("{}, line {line}: not a saved connection: {source}; remove the file", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The bridge.
    #[error(transparent)]
    Datapath(#[from] Error),
}

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    boot_id: String,
}

const VERSION: u32 = 1;

/// Write the connections; how many.
pub(crate) fn save(path: &Path, connections: &[Connection]) -> Result<usize, SavedError> {
    let mut unready = path.as_os_str().to_owned();
    unready.push(".new");
    let write = || {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unready)?;
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, &Header { version: VERSION, boot_id: boot_id()? })?;
        for connection in connections {
            file.write_all(b"\n")?;
            serde_json::to_writer(&mut file, connection)?;
        }
        file.write_all(b"\n")?;
        file.into_inner()?.sync_all()?;
        fs::rename(&unready, path)
    };
    write().map_err(|source| SavedError::File { attempt: "write", path: path.to_owned(), source })?;
    Ok(connections.len())
}

/// Read the connections and remove the file.
pub(crate) fn load(path: &Path) -> Result<Option<Vec<Connection>>, SavedError> {
    let failed = |attempt| move |source| SavedError::File { attempt, path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed("read"))?,
    };
    let mut lines = (1..).zip(BufReader::new(file).lines());
    let damaged = |line| move |source| SavedError::Damaged { path: path.to_owned(), line, source };
    let mut connections = Vec::new();
    if let Some((number, line)) = lines.next() {
        let header: Header = serde_json::from_str(&line.map_err(failed("read"))?).map_err(damaged(number))?;
        let ours = Header { version: VERSION, boot_id: boot_id().map_err(failed("read"))? };
        if header == ours {
            for (number, line) in lines {
                let line = line.map_err(failed("read"))?;
                connections.push(serde_json::from_str(&line).map_err(damaged(number))?);
            }
        }
    }
    fs::remove_file(path).map_err(failed("remove"))?;
    Ok(Some(connections))
}

/// A name that the kernel takes anew at each boot (proc_sys_kernel(5)).
fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests;
