//! Cluster files: Kubernetes objects as YAML.

use crate::memory::Limit;
use footbridge_node::cluster::Cluster;

/// Objects are mostly optional fields: an empty one (`{}` in a list) is some hundreds of bytes.
const CLUSTER: Limit = Limit { base: 1 << 20, per_byte: 4096 };

/// A file is read, or every problem of it is named; nothing in it makes reading it expensive.
pub(crate) fn cluster(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Err(error) = CLUSTER.of(text.len(), || Cluster::parse("file", text)) {
        assert!(!error.to_string().is_empty());
    }
}
