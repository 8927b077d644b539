//! A Kubernetes API server's Nodes as the source of the cluster's state.
//!
//! # Contract
//!
//! Nodes are listed in pages, then watched, with bookmarks (Kubernetes API concepts, "Efficient detection of
//! changes"); nothing else is asked of the API server, so a service account needs `list` and `watch` of `nodes`.
//! A list takes effect when it is whole. A watch that ends is taken up where it was; when that is too long ago for
//! the API server (410 Gone) the Nodes are listed anew, and what was deleted meanwhile is found missing.
//!
//! An API server that can't be reached, or refuses, changes nothing: the last Nodes known stay in force. It is
//! tried again with back-off; when it answers, all there is is compared once more.
//!
//! # Limits
//!
//! A connection that dies without a word is noticed when its watch should have ended: within a minute
//! and a quarter. The file of a kubeconfig is read once; a service account's token is read again as it is renewed.

use super::ClusterSource;
use crate::back_off::BackOff;
use crate::cluster::{Cluster, ClusterError, NodeObject};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Config};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tower::util::MapResponseLayer;

/// How long one watch lasts before it is asked for anew, in seconds.
const WATCH: u32 = 60;

/// How long the API server may be silent: a little longer than a watch.
const SILENCE: Duration = Duration::from_secs(75);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The first and the longest wait before an API server is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long it has to go well for the waits to begin anew.
const GOES_WELL: Duration = Duration::from_secs(10);

/// HTTP's status for a resource version that the API server has no record of any more.
const GONE: u16 = 410;

/// Nodes a page of a list: what is read of whole objects at once.
const PAGE: u32 = 500;

/// Changes come in crowds: how long to gather them, and how many at most.
const GATHER: (Duration, usize) = (Duration::from_millis(3), 10_000);

/// Why it can't be known how to reach the API server.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The kubeconfig file.
    #[error("can't use the kubeconfig {}: {reason}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no service account.
    #[error("--in-cluster is for pods of a cluster, with a service account: {0}")]
    InCluster(String),
    /// The client.
    #[error("can't make a client for the API server {server}: {reason}")]
    Client {
        /// Its URL.
        server: String,
        /// Why.
        reason: String,
    },
}

/// An API server's Nodes, watched.
pub struct ApiSource {
    server: String,
    own: String,
    events: BoxStream<'static, watcher::Result<Event<v1::Node>>>,
    /// Told of each answer of the API server that is no refusal.
    answers: Arc<Notify>,
    nodes: Nodes,
    /// What went wrong, until the API server answers again.
    trouble: Option<String>,
    /// It went wrong after the last read.
    untold: bool,
}

impl ApiSource {
    /// The API server of a kubeconfig file's current context, for the agent of the node `own`; within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The file can't be used.
    pub async fn from_kubeconfig(path: &Path, own: &str) -> Result<ApiSource, ApiError> {
        let failed = |error: &dyn Error| ApiError::Kubeconfig { path: path.to_owned(), reason: chain(error) };
        let file = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        ApiSource::new(config.map_err(|error| failed(&error))?, own)
    }

    /// The API server of the pod that this process runs in, for the agent of the node `own`; within a tokio
    /// runtime.
    ///
    /// # Errors
    /// There is no service account here.
    pub fn in_cluster(own: &str) -> Result<ApiSource, ApiError> {
        ApiSource::new(Config::incluster().map_err(|error| ApiError::InCluster(chain(&error)))?, own)
    }

    fn new(mut config: Config, own: &str) -> Result<ApiSource, ApiError> {
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        let answers = Arc::new(Notify::new());
        let answered = Arc::clone(&answers);
        let notice = MapResponseLayer::new(move |response: http::Response<_>| {
            if response.status().is_success() {
                answered.notify_one();
            }
            response
        });
        let builder = ClientBuilder::try_from(config)
            .map_err(|error| ApiError::Client { server: server.clone(), reason: chain(&error) })?;
        let client = builder.with_layer(&notice).build();
        let how = watcher::Config::default().timeout(WATCH).page_size(PAGE);
        let back_off = Waits { back_off: BackOff::new(BACK_OFF.0, BACK_OFF.1), last: None };
        let events = watcher(Api::all(client), how).backoff(back_off).boxed();
        let (own, nodes) = (own.to_owned(), Nodes::default());
        Ok(ApiSource { server, own, events, answers, nodes, trouble: None, untold: false })
    }

    fn take(&mut self, event: watcher::Result<Event<v1::Node>>) {
        match event {
            // This one says that a list is going to be asked for.
            Ok(Event::Init) => self.nodes.apply(Event::Init),
            Ok(event) => {
                self.nodes.apply(event);
                self.nodes.changed |= self.trouble.take().is_some();
            }
            // What was last seen is too old: what follows is a list, as at the start.
            Err(watcher::Error::WatchError(status)) if status.code == GONE => {
                tracing::debug!("the Nodes are listed anew: {}", status.message);
            }
            Err(error) => {
                self.trouble = Some(reason(&error));
                self.untold = true;
                // An answer from before says nothing of the next.
                self.answers.notified().now_or_never();
            }
        }
    }

    /// Take what comes next; or learn that a watch goes on again, of which there is no event.
    async fn next(&mut self) {
        tokio::select! {
            Some(event) = self.events.next() => self.take(event),
            () = self.answers.notified(), if self.trouble.is_some() => {
                self.trouble = None;
                self.nodes.changed = true;
            }
            // Watching never ends.
            else => std::future::pending().await,
        }
    }
}

impl ClusterSource for ApiSource {
    async fn changed(&mut self) {
        while !self.nodes.are_news() && !self.untold {
            self.next().await;
        }
        let until = Instant::now() + GATHER.0;
        for _ in 1..GATHER.1 {
            if self.untold || timeout_at(until, self.next()).await.is_err() {
                break;
            }
        }
    }

    fn read(&mut self) -> Result<Option<Cluster>, ClusterError> {
        if let Some(nodes) = self.nodes.news() {
            return Ok(Some(Cluster::of_nodes(nodes, &self.own)));
        }
        self.untold = false;
        match &self.trouble {
            None => Ok(None),
            Some(reason) => Err(ClusterError::Server { server: self.server.clone(), reason: reason.clone() }),
        }
    }
}

/// The waits between tries.
struct Waits {
    back_off: BackOff,
    last: Option<Instant>,
}

impl Waits {
    /// The wait after a failure at this time.
    fn after(&mut self, now: Instant) -> Duration {
        if self.last.replace(now).is_some_and(|last| now - last > GOES_WELL) {
            self.back_off.succeeded();
        }
        self.back_off.failed()
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.after(Instant::now()))
    }
}

impl Backoff for Waits {
    /// Called for each event, of which there is one before a list is even asked for: time tells better.
    fn reset(&mut self) {}
}

/// The Nodes as the events tell them.
#[derive(Debug, Default)]
struct Nodes {
    known: BTreeMap<String, NodeObject>,
    /// Of a list that is not whole yet.
    coming: BTreeMap<String, NodeObject>,
    /// A list was whole.
    listed: bool,
    /// There is something new since [`Nodes::news`].
    changed: bool,
}

impl Nodes {
    fn apply(&mut self, event: Event<v1::Node>) {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(node) => {
                let (name, object) = read(&node);
                self.coming.insert(name, object);
            }
            Event::InitDone => {
                let coming = std::mem::take(&mut self.coming);
                self.changed |= !self.listed || coming != self.known;
                self.known = coming;
                self.listed = true;
            }
            Event::Apply(node) => {
                let (name, object) = read(&node);
                if self.known.get(&name) != Some(&object) {
                    self.known.insert(name, object);
                    self.changed = true;
                }
            }
            Event::Delete(node) => self.changed |= self.known.remove(&read(&node).0).is_some(),
        }
    }

    fn are_news(&self) -> bool {
        self.listed && self.changed
    }

    /// All Nodes, if anything of them is new.
    fn news(&mut self) -> Option<&BTreeMap<String, NodeObject>> {
        let news = self.are_news();
        self.changed &= !news;
        news.then_some(&self.known)
    }
}

/// What is kept of a Node, under its name, which every object of an API server has.
fn read(node: &v1::Node) -> (String, NodeObject) {
    (node.metadata.name.clone().unwrap_or_default(), NodeObject::of(node))
}

/// What an API server says of itself is enough; else an error with its causes.
fn reason(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.message.clone(),
        InitialListFailed(_) | WatchStartFailed(_) | WatchFailed(_) | NoResourceVersion => chain(error),
    }
}

/// An error with all that caused it; what several of them say is said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
