//! Where the cluster comes from: a file or an API server, behind one trait.

mod api;
mod file;

pub use api::{ApiError, ApiSource};
pub use file::FileSource;

use crate::cluster::{Cluster, ClusterError};
use std::future::Future;
use std::path::PathBuf;

/// A source of the cluster's state.
pub trait ClusterSource {
    /// Returns when the cluster may have changed since the last [`ClusterSource::read`]. May be
    /// dropped and called again at any time.
    fn changed(&mut self) -> impl Future<Output = ()>;

    /// The cluster as it is now; None where it is as it was at the last read, or not known yet.
    ///
    /// # Errors
    /// The cluster can't be had; said again only when the reason changes.
    fn read(&mut self) -> Result<Option<Cluster>, ClusterError>;
}

/// Which source an agent is to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterFrom {
    /// This file of Kubernetes objects.
    File(PathBuf),
    /// The API server of this kubeconfig file's current context.
    Kubeconfig(PathBuf),
    /// The API server of the pod that the agent runs in, as its service account.
    InCluster,
}

impl ClusterFrom {
    /// The source, for the agent of the node `own`; within a tokio runtime.
    ///
    /// # Errors
    /// How to reach the API server can't be found out. That it can't be reached is no error: it is waited for.
    pub async fn open(&self, own: &str) -> Result<AnySource, ApiError> {
        Ok(match self {
            ClusterFrom::File(path) => AnySource::File(FileSource::new(path)),
            ClusterFrom::Kubeconfig(path) => {
                AnySource::Api(Box::new(ApiSource::from_kubeconfig(path, own).await?))
            }
            ClusterFrom::InCluster => AnySource::Api(Box::new(ApiSource::in_cluster(own)?)),
        })
    }
}

/// One of the sources.
pub enum AnySource {
    /// A cluster file.
    File(FileSource),
    /// An API server.
    Api(Box<ApiSource>),
}

impl ClusterSource for AnySource {
    async fn changed(&mut self) {
        match self {
            AnySource::File(source) => source.changed().await,
            AnySource::Api(source) => source.changed().await,
        }
    }

    fn read(&mut self) -> Result<Option<Cluster>, ClusterError> {
        match self {
            AnySource::File(source) => source.read(),
            AnySource::Api(source) => source.read(),
        }
    }
}
