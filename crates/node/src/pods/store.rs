//! Pods on disk: `pods/` in the state directory, a file each, and `deletions/`, where the plugin leaves what it could
//! not tell the agent.
//!
//! Each file is replaced whole (written aside, synced, renamed, its directory synced), so that a crash leaves the old
//! or the new one.

use super::Record;
use crate::store::StoreError;
use footbridge_cni::{Attachment, Request};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PODS: &str = "pods";
const DELETIONS: &str = "deletions";
/// Another text at each start of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Files have this ending.
const ENDING: &str = "json";
/// While they are being written they have another.
const UNFINISHED: &str = "new";
/// No writer takes so long.
const UNFINISHED_FOR: Duration = Duration::from_secs(60);

/// The pods' directory.
pub(super) struct PodStore {
    directory: PathBuf,
}

impl PodStore {
    /// In `state_dir`, made if need be.
    pub(super) fn open(state_dir: &Path) -> Result<PodStore, StoreError> {
        let directory = state_dir.join(PODS);
        // Nobody else writes there; but plugins may be leaving DELs just now.
        for (directory, age) in [(&directory, Duration::ZERO), (&state_dir.join(DELETIONS), UNFINISHED_FOR)] {
            make_directory(directory)?;
            remove_unfinished(directory, age)?;
        }
        Ok(PodStore { directory })
    }

    /// All pods.
    pub(super) fn load(&self) -> Result<BTreeMap<Attachment, Record>, StoreError> {
        let mut records = BTreeMap::new();
        for path in files(&self.directory)? {
            let text = fs::read_to_string(&path).map_err(|source| io_error("read", &path, source))?;
            let record: Record = serde_json::from_str(&text)
                .map_err(|error| StoreError::Damaged { path: path.clone(), why: error.to_string() })?;
            records.insert(record.attachment.clone(), record);
        }
        Ok(records)
    }

    /// Keep a pod.
    pub(super) fn save(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path(&record.attachment);
        let text = serde_json::to_string(record)
            .map_err(|error| StoreError::Damaged { path: path.clone(), why: error.to_string() })?;
        replace(&path, &text)
    }

    /// Forget a pod.
    pub(super) fn remove(&self, attachment: &Attachment) -> Result<(), StoreError> {
        remove(&self.path(attachment))
    }

    fn path(&self, attachment: &Attachment) -> PathBuf {
        self.directory.join(file_name(attachment))
    }
}

/// Which start of the machine this is.
pub(super) fn boot() -> Result<String, StoreError> {
    let path = Path::new(BOOT);
    let text = fs::read_to_string(path).map_err(|source| io_error("read", path, source))?;
    Ok(text.trim().to_owned())
}

/// Leave a DEL for the agent, in the state directory that it has.
///
/// # Errors
/// It can't be written.
pub fn write_deletion(
    state_dir: &Path,
    attachment: &Attachment,
    request: &Request,
) -> Result<PathBuf, StoreError> {
    let directory = state_dir.join(DELETIONS);
    make_directory(&directory)?;
    let path = directory.join(file_name(attachment));
    let text = serde_json::to_string(request)
        .map_err(|error| StoreError::Damaged { path: path.clone(), why: error.to_string() })?;
    replace(&path, &text)?;
    Ok(path)
}

/// The DELs that were left, and their files.
///
/// # Errors
/// The directory or a file can't be read.
pub(super) fn deletions(state_dir: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let read = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Some(Ok((path, text))),
        // Done by another meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => Some(Err(io_error("read", &path, source))),
    };
    files(&state_dir.join(DELETIONS))?.into_iter().filter_map(read).collect()
}

/// Take a file away, for good; one that is gone is fine.
///
/// # Errors
/// It can't be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other,
    }
    .and_then(|()| sync_directory_of(path))
    .map_err(|source| io_error("remove", path, source))
}

/// An attachment's file: neither part has a character that a file can't have, and `@` is in no container's id.
fn file_name(attachment: &Attachment) -> String {
    format!("{}@{}.{ENDING}", attachment.container, attachment.ifname)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| io_error("read", directory, source);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
    paths.sort();
    Ok(paths)
}

/// What was being written, at least so long ago, when its writer was killed.
fn remove_unfinished(directory: &Path, age: Duration) -> Result<(), StoreError> {
    let failed = |source| io_error("read", directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().extension().is_none_or(|ending| ending != UNFINISHED) {
            continue;
        }
        let written = entry.metadata().and_then(|file| file.modified());
        // One from a time to come was written before the clock was set back; one that is gone, by a plugin just now.
        if written.is_ok_and(|written| written.elapsed().unwrap_or(Duration::MAX) >= age) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| io_error("create", path, source))
}

fn replace(path: &Path, text: &str) -> Result<(), StoreError> {
    let aside = path.with_extension(format!("{}.{UNFINISHED}", std::process::id()));
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&aside, path));
    if moved.is_err() {
        // It says better what went wrong than that this is left.
        drop(fs::remove_file(&aside));
    }
    moved.and_then(|()| sync_directory_of(path)).map_err(|source| io_error("write", path, source))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { what, path: path.to_owned(), source }
}
