#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {name: a}}\n";
const OTHER: &str = "---\n{apiVersion: v1, kind: Node, metadata: {name: b}}\n";

/// The names of the nodes that are read.
fn nodes(source: &mut FileSource) -> Option<Vec<String>> {
    source.read().unwrap().map(|cluster| cluster.nodes.into_keys().collect())
}

/// They, as soon as they are read; within a time that no round of the caller's takes.
async fn next(source: &mut FileSource) -> Vec<String> {
    let read = async {
        loop {
            if let Some(nodes) = nodes(source) {
                return nodes;
            }
            source.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap()
}

#[tokio::test]
async fn a_half_written_file_is_read_when_its_writer_closes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.yaml");
    fs::write(&path, OTHER).unwrap();
    let mut source = FileSource::new(&path);
    assert_eq!(next(&mut source).await, ["b"]);
    let mut file = File::create(&path).unwrap();
    file.write_all(NODE.as_bytes()).unwrap();
    assert_eq!(nodes(&mut source), None, "half written");
    file.write_all(OTHER.as_bytes()).unwrap();
    drop(file);
    assert_eq!(next(&mut source).await, ["a", "b"]);
    assert_eq!(nodes(&mut source), None, "as it was");
}

#[tokio::test]
async fn a_file_that_nobody_closes_is_read_when_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.yaml");
    let mut file = File::create(&path).unwrap();
    file.write_all(NODE.as_bytes()).unwrap();
    let mut source = FileSource::new(&path);
    assert_eq!(nodes(&mut source), None, "too new");
    assert_eq!(next(&mut source).await, ["a"]);
}

#[tokio::test]
async fn another_file_in_the_directory_says_nothing_of_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.yaml");
    let mut source = FileSource::new(&path);
    source.read().unwrap_err();
    let mut file = File::create(&path).unwrap();
    file.write_all(NODE.as_bytes()).unwrap();
    fs::write(directory.path().join("other"), "").unwrap();
    source.changed().await;
    assert!(!source.finished);
}

#[tokio::test]
async fn a_file_behind_a_link_is_watched_where_it_is() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (link, file) = (here.path().join("cluster.yaml"), there.path().join("real.yaml"));
    fs::write(&file, NODE).unwrap();
    symlink(&file, &link).unwrap();
    let old = SystemTime::now() - Duration::from_secs(60);
    File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    let mut source = FileSource::new(&link);
    assert_eq!(nodes(&mut source).unwrap(), ["a"]);
    fs::write(&file, OTHER).unwrap();
    source.changed().await;
    assert!(source.finished);
    assert_eq!(nodes(&mut source).unwrap(), ["b"]);
}
