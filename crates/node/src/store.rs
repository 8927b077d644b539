//! What survives the agent: port numbers of pods and the round, in the state directory.
//!
//! Each file is replaced whole (written aside, synced, renamed), so that a crash leaves the old or
//! the new one.

use crate::identity::PortAssignments;
use crate::tables::Round;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PORTS: &str = "ports.json";
const ROUND: &str = "round";

/// The state directory.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// State could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The contents are not what was written.
    #[error("{} is damaged ({why}): remove it; pods without an annotated port then get new numbers", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Store {
    /// Use `directory`, made if need be.
    ///
    /// # Errors
    /// It can't be made.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        fs::create_dir_all(directory).map_err(|source| StoreError::Io {
            what: "create",
            path: directory.to_owned(),
            source,
        })?;
        Ok(Store { directory: directory.to_owned() })
    }

    /// The port numbers; none at the first start.
    ///
    /// # Errors
    /// Unreadable or damaged.
    pub fn ports(&self) -> Result<PortAssignments, StoreError> {
        let Some(text) = self.read(PORTS)? else { return Ok(PortAssignments::default()) };
        serde_json::from_str(&text).map_err(|error| self.damaged(PORTS, error))
    }

    /// Keep the port numbers.
    ///
    /// # Errors
    /// Not writable.
    pub fn save_ports(&self, ports: &PortAssignments) -> Result<(), StoreError> {
        let text = serde_json::to_string(ports).map_err(|error| self.damaged(PORTS, error))?;
        self.write(PORTS, &text)
    }

    /// The last round whose flows stood alone; None before the first.
    ///
    /// # Errors
    /// Unreadable or damaged.
    pub fn round(&self) -> Result<Option<Round>, StoreError> {
        let Some(text) = self.read(ROUND)? else { return Ok(None) };
        let number = text.trim().parse().ok().and_then(Round::new);
        number.map(Some).ok_or_else(|| self.damaged(ROUND, "no round's number"))
    }

    /// Keep the round.
    ///
    /// # Errors
    /// Not writable.
    pub fn save_round(&self, round: Round) -> Result<(), StoreError> {
        self.write(ROUND, &format!("{round}\n"))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file of the directory, for others to write.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { what: "read", path, source }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        let aside = self.path(&format!("{name}.new"));
        let written = File::create(&aside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&aside, &path)).map_err(|source| StoreError::Io {
            what: "write",
            path,
            source,
        })
    }

    fn damaged(&self, name: &str, why: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path(name), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_finds_nothing_and_a_later_one_what_was_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("deep/er")).unwrap();
        assert_eq!(store.round().unwrap(), None);
        assert_eq!(store.ports().unwrap(), PortAssignments::default());
        store.save_round(Round::FIRST.next()).unwrap();
        assert_eq!(store.round().unwrap(), Some(Round::FIRST.next()));
        store.save_ports(&PortAssignments::default()).unwrap();
        assert_eq!(store.ports().unwrap(), PortAssignments::default());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        fs::write(store.path(ROUND), "0").unwrap();
        assert!(store.round().unwrap_err().to_string().contains("round is damaged"));
        fs::write(store.path(PORTS), "{").unwrap();
        assert!(store.ports().unwrap_err().to_string().contains("ports.json is damaged"));
    }
}
