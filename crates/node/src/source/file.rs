//! A cluster file as the source of the cluster's state: the lab's, and what tests use.

use super::ClusterSource;
use crate::cluster::{Cluster, ClusterError};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::unix::AsyncFd;

/// A cluster file, watched.
///
/// The directory is watched rather than the file, so that a file replaced by a rename, deleted and
/// made again, or reached through a symbolic link that is switched over is followed; of a link, the
/// directory where it ends is watched too. [`ClusterSource::read`] looks at the file in any case, so a
/// change that made no event is found at the caller's next round.
///
/// A file is read when its writer has closed it or renamed it here. One that changed without a word
/// may be half written, and is read when it has been left alone for a while.
pub struct FileSource {
    path: PathBuf,
    watch: Option<AsyncFd<Watch>>,
    /// The directories that `watch` watches, and the names that the file has there.
    watched: Vec<PathBuf>,
    /// A writer has finished since the last read.
    finished: bool,
    seen: Option<Stamp>,
    /// What the file has become, perhaps half written, and since when it is known to be so.
    unsettled: Option<(Stamp, Instant)>,
}

/// An inotify descriptor as tokio wants it.
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok();
        Some(Stamp { modified, size: metadata.size(), inode: metadata.ino() })
    }

    /// How long ago the last write was; zero where the clock was set back since.
    fn age(&self) -> Duration {
        self.modified.and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
    }
}

/// How long a file has to be left alone to be read without its writer having closed it.
const LEFT_ALONE: Duration = Duration::from_millis(50);

/// Editors and tools touch a file more than once: how long to let it settle.
const SETTLE: Duration = Duration::from_millis(3);

/// How often an unwatchable directory is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl FileSource {
    /// Watch `path`, within a tokio runtime. The file need not be there yet.
    pub fn new(path: &Path) -> FileSource {
        FileSource {
            path: path.to_owned(),
            watch: None,
            watched: Vec::new(),
            finished: false,
            seen: None,
            unsettled: None,
        }
    }

    /// The file's path, and where it leads to, if elsewhere.
    fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.path.clone()];
        let linked = std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.is_symlink());
        places.extend(std::fs::canonicalize(&self.path).ok().filter(|_| linked));
        places
    }

    /// Watch the directories where the file is now.
    fn watch(&mut self) -> io::Result<()> {
        let places = self.places();
        if self.watch.is_some() && self.watched == places {
            return Ok(());
        }
        self.watch = None;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let events = FINISHED
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        for place in &places {
            let directory = place.parent().filter(|p| !p.as_os_str().is_empty());
            inotify.add_watch(directory.unwrap_or(Path::new(".")), events)?;
        }
        #[allow(deprecated, reason = "`register` is unsafe; Watch owns its descriptor for its whole life")]
        let watch = AsyncFd::new(Watch(inotify))?;
        self.watch = Some(watch);
        self.watched = places;
        Ok(())
    }

    /// Wait for one event in the directories, and take all that are there.
    async fn event(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else { return Err(io::ErrorKind::NotFound.into()) };
        let mut lost = false;
        {
            let mut ready = watch.readable().await?;
            while let Ok(events) = watch.get_ref().0.read_events() {
                for event in events {
                    lost |= event.mask.intersects(GONE);
                    let ours = |name| self.watched.iter().any(|place| place.file_name() == Some(name));
                    self.finished |=
                        event.mask.intersects(FINISHED) && event.name.as_deref().is_some_and(ours);
                }
            }
            ready.clear_ready();
        }
        if lost {
            self.watch = None;
        }
        Ok(())
    }

    /// Whether a file that changed into `stamp` may be read now; if not, it is looked at again soon.
    fn settled(&mut self, stamp: Stamp) -> bool {
        let since = match self.unsettled {
            Some((before, since)) if before == stamp => since,
            _ => Instant::now(),
        };
        let settled = self.finished || stamp.age() >= LEFT_ALONE || since.elapsed() >= LEFT_ALONE;
        self.unsettled = Some((stamp, since));
        settled
    }
}

/// A file is whole: closed by its writer, or renamed to its name.
const FINISHED: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE.union(AddWatchFlags::IN_MOVED_TO);

/// A watched directory is not where it was.
const GONE: AddWatchFlags =
    AddWatchFlags::IN_IGNORED.union(AddWatchFlags::IN_DELETE_SELF).union(AddWatchFlags::IN_MOVE_SELF);

impl ClusterSource for FileSource {
    async fn changed(&mut self) {
        let soon = self.unsettled.map(|(_, since)| LEFT_ALONE.saturating_sub(since.elapsed()));
        let event = tokio::time::timeout(soon.unwrap_or(Duration::MAX), self.event());
        if let Ok(Err(error)) = event.await {
            tracing::debug!(%error, file = %self.path.display(), "the cluster file's directory can't be watched");
            self.watch = None;
            tokio::time::sleep(soon.unwrap_or(LOOK_AGAIN)).await;
        }
        tokio::time::sleep(SETTLE).await;
    }

    fn read(&mut self) -> Result<Option<Cluster>, ClusterError> {
        // Watch before looking, so that no change falls between the two.
        if let Err(error) = self.watch() {
            tracing::debug!(%error, file = %self.path.display(), "the cluster file's directory can't be watched");
        }
        let stamp = Stamp::of(&self.path);
        if let Some(stamp) = stamp {
            // A file rewritten within the clock's grain has the same stamp.
            if self.seen == Some(stamp) && !self.finished {
                self.unsettled = None;
                return Ok(None);
            }
            if !self.settled(stamp) {
                return Ok(None);
            }
        }
        self.unsettled = None;
        self.finished = false;
        let cluster = Cluster::load(&self.path);
        let now = Stamp::of(&self.path);
        if let Some(now) = now.filter(|_| now != stamp) {
            // Written while it was read.
            self.unsettled = Some((now, Instant::now()));
            return Ok(None);
        }
        self.seen = stamp;
        cluster.map(Some)
    }
}

#[cfg(test)]
mod tests;
