//! Where the cluster comes from.

use crate::cluster::{Cluster, ClusterError};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::io::unix::AsyncFd;

/// A source of the cluster's state; a file now, an API server later.
pub trait ClusterSource {
    /// Returns when the cluster may have changed since the last [`ClusterSource::read`]. May be
    /// dropped and called again at any time.
    fn changed(&mut self) -> impl Future<Output = ()>;

    /// The cluster as it is now; None where it is as it was at the last read.
    ///
    /// # Errors
    /// The cluster can't be had; said again only when the reason changes.
    fn read(&mut self) -> Result<Option<Cluster>, ClusterError>;
}

/// A cluster file, watched.
///
/// The directory is watched rather than the file, so that a file replaced by a rename, deleted and
/// made again, or reached through a symbolic link that is switched over is followed; only finished
/// writes are looked at. [`ClusterSource::read`] looks at the file in any case, so a change that
/// made no event is found at the caller's next round.
pub struct FileSource {
    path: PathBuf,
    watch: Option<AsyncFd<Watch>>,
    seen: Option<Stamp>,
}

/// An inotify descriptor as tokio wants it.
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// What tells one state of a file from another without reading it.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

/// Editors and tools touch a file more than once: how long to let it settle.
const SETTLE: Duration = Duration::from_millis(3);

/// How often an unwatchable directory is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl FileSource {
    /// Watch `path`, within a tokio runtime. The file need not be there yet.
    pub fn new(path: &Path) -> FileSource {
        FileSource { path: path.to_owned(), watch: None, seen: None }
    }

    fn watch(&mut self) -> io::Result<&mut AsyncFd<Watch>> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => {
                let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
                let finished = AddWatchFlags::IN_CLOSE_WRITE
                    | AddWatchFlags::IN_MOVED_TO
                    | AddWatchFlags::IN_MOVED_FROM
                    | AddWatchFlags::IN_DELETE
                    | AddWatchFlags::IN_DELETE_SELF
                    | AddWatchFlags::IN_MOVE_SELF
                    | AddWatchFlags::IN_ONLYDIR;
                let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty());
                inotify.add_watch(directory.unwrap_or(Path::new(".")), finished)?;
                #[allow(
                    deprecated,
                    reason = "`register` is unsafe; Watch owns its descriptor for its whole life"
                )]
                let watch = AsyncFd::new(Watch(inotify))?;
                watch
            }
        };
        Ok(self.watch.insert(watch))
    }

    /// Wait for one event in the directory, and take all that are there.
    async fn event(&mut self) -> io::Result<()> {
        let watch = self.watch()?;
        let mut lost = false;
        {
            let mut ready = watch.readable().await?;
            while let Ok(events) = watch.get_ref().0.read_events() {
                let gone =
                    AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
                lost |= events.iter().any(|event| event.mask.intersects(gone));
            }
            ready.clear_ready();
        }
        if lost {
            self.watch = None;
        }
        // A file rewritten within the clock's grain has the same stamp.
        self.seen = None;
        Ok(())
    }
}

impl ClusterSource for FileSource {
    async fn changed(&mut self) {
        if let Err(error) = self.event().await {
            tracing::debug!(%error, file = %self.path.display(), "the cluster file's directory can't be watched");
            self.watch = None;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        tokio::time::sleep(SETTLE).await;
    }

    fn read(&mut self) -> Result<Option<Cluster>, ClusterError> {
        use std::os::unix::fs::MetadataExt;
        // Watch before looking, so that no change falls between the two.
        if let Err(error) = self.watch() {
            tracing::debug!(%error, file = %self.path.display(), "the cluster file's directory can't be watched");
        }
        let stamp = std::fs::metadata(&self.path).ok().map(|metadata| Stamp {
            modified: metadata.modified().ok(),
            size: metadata.size(),
            inode: metadata.ino(),
        });
        if stamp.is_some() && stamp == self.seen {
            return Ok(None);
        }
        self.seen = stamp;
        Cluster::load(&self.path).map(Some)
    }
}
