//! Named network namespaces, as `ip netns` knows them.
//!
//! A name is a file in `/run/netns` with a namespace's `/proc/PID/ns/net` bound over it, so that
//! `ip netns exec NAME …` works on ours. Work inside a namespace is done by a thread of its own that
//! enters it and ends with it; the calling thread never changes its namespace.

use super::LabError;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::Handle;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the names are; the place is iproute2's.
pub(crate) const NAMES: &str = "/run/netns";

/// How often a name that is busy is tried to be removed, and how long between: a second in all.
const DELETE_ATTEMPTS: u32 = 50;
const DELETE_PAUSE: Duration = Duration::from_millis(20);

/// A name of a network namespace. That the namespace is there is not implied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of that name, there or not.
    pub(crate) fn named(name: impl Into<String>) -> Namespace {
        Namespace { name: name.into() }
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// Whether the name is taken.
    pub(crate) fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Device and inode of the namespace: what `/proc/PID/ns/net` shows for a process inside.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let meta = fs::metadata(self.path())?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Make the namespace, its loopback up.
    pub(crate) async fn create(&self) -> Result<(), LabError> {
        let failed =
            |source: io::Error| LabError::io(format!("make network namespace {}", self.name), source);
        fs::create_dir_all(NAMES).map_err(failed)?;
        File::create_new(self.path()).map_err(failed)?;
        let path = self.path();
        let made = in_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        })
        .await;
        if let Err(error) = made {
            // The name without its namespace would be in the next attempt's way.
            fs::remove_file(self.path()).map_err(failed)?;
            return Err(failed(error));
        }
        self.netlink("bring up lo", |handle| async move { super::links::up(&handle, "lo").await }).await
    }

    /// Take the name away; the namespace goes with its last process. One that isn't there is fine.
    pub(crate) fn delete(&self) -> Result<(), LabError> {
        let path = self.path();
        let mut attempt = 1;
        loop {
            // Not a mount point (any more): only the file is left.
            let _unmounted = umount2(&path, MntFlags::MNT_DETACH);
            match fs::remove_file(&path) {
                // Mounted once more, by whoever was making it, or still mounted for somebody else.
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && attempt < DELETE_ATTEMPTS => {
                    attempt += 1;
                    std::thread::sleep(DELETE_PAUSE);
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(LabError::io(format!("remove network namespace {}", self.name), e));
                }
                _ => return Ok(()),
            }
        }
    }

    /// An open file of the namespace, to hand to the kernel.
    pub(crate) fn open(&self) -> Result<File, LabError> {
        File::open(self.path()).map_err(|e| LabError::io(format!("open network namespace {}", self.name), e))
    }

    /// Run `work` inside the namespace.
    pub(crate) async fn run<T, F>(&self, what: &str, work: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let namespace = self.open()?;
        in_thread(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        })
        .await
        .map_err(|e| LabError::io(format!("{what} in {}", self.name), e))
    }

    /// Run `work` with a netlink connection to the namespace.
    pub(crate) async fn netlink<T, F, Fut>(&self, what: &str, work: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce(Handle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, rtnetlink::Error>>,
    {
        let outcome = self
            .run(what, move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let (connection, handle, _) = rtnetlink::new_connection()?;
                    let connection = tokio::spawn(connection);
                    let outcome = work(handle).await;
                    connection.abort();
                    Ok(outcome)
                })
            })
            .await?;
        outcome.map_err(|source| LabError::Netlink { what: format!("{what} in {}", self.name), source })
    }

    /// Write sysctls below `/proc/sys/net`, in order.
    pub(crate) async fn sysctl(&self, settings: Vec<(String, String)>) -> Result<(), LabError> {
        self.run("set sysctls", move || {
            for (key, value) in settings {
                fs::write(Path::new("/proc/sys/net").join(&key), value)
                    .map_err(|e| io::Error::new(e.kind(), format!("net/{key}: {e}")))?;
            }
            Ok(())
        })
        .await
    }
}

/// Enter a namespace by name or path, for the whole process. Only while it has one thread: threads
/// started earlier would stay outside.
pub(crate) fn enter(name_or_path: &str) -> Result<(), LabError> {
    let path = if name_or_path.contains('/') {
        PathBuf::from(name_or_path)
    } else {
        Path::new(NAMES).join(name_or_path)
    };
    let what = || format!("enter network namespace {}", path.display());
    let file = File::open(&path).map_err(|e| LabError::io(what(), e))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|e| LabError::io(what(), e.into()))
}

/// Run `work` on a thread of its own and wait for it without blocking the runtime.
async fn in_thread<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netns".into()).spawn(move || {
        // The receiver is gone only when nobody waits for the outcome any more.
        let _unheard = done.send(work());
    })?;
    match outcome.await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::other("the thread inside the namespace panicked")),
    }
}
