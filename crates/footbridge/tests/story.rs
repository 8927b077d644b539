//! `footbridge walk` across the article's nodes, on dumps of each, against kept texts.
//!
//! A story's arguments and its text are two files in `tests/data/cluster`: `NAME.story` (an argument a line) and
//! `NAME.txt`. `UPDATE_GOLDENS=1` writes the texts anew. The dumps are a lab's, which `lab.rs` holds against a running one.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NODES: [&str; 3] = ["master", "worker1", "worker2"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cluster")
}

/// Walk on what is given of each of these nodes.
fn walk(nodes: &[&str], kinds: &[&str], arguments: &[&str]) -> Output {
    let files = nodes.iter().flat_map(|node| {
        kinds.iter().flat_map(move |kind| [format!("--{kind}"), format!("{node}={node}.{kind}")])
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_footbridge"));
    command.current_dir(data()).arg("walk").args(files).args(arguments).output().unwrap()
}

fn last(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn stories_are_the_kept_texts() {
    let mut stories = 0;
    for entry in fs::read_dir(data()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "story") {
            continue;
        }
        stories += 1;
        let arguments = fs::read_to_string(&path).unwrap();
        let output = walk(&NODES, &["flows", "ports", "routes"], &arguments.lines().collect::<Vec<_>>());
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &printed).unwrap();
        }
        assert_eq!(printed, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
    assert!(stories >= 4);
}

#[test]
fn what_is_not_known_ends_the_story_and_is_asked_for_by_name() {
    let flows = ["flows", "ports"];
    let call = ["frontend", "10.104.65.133:80", "--endpoint", "10.222.2.34:80"];
    let no_routes = walk(&NODES, &flows, &call);
    assert_eq!(no_routes.status.code(), Some(2));
    assert_eq!(
        last(&no_routes),
        "how worker1's host routes 10.222.2.34 is not known: give --routes worker1=FILE, what `ip route` prints"
    );
    let all = ["flows", "ports", "routes"];
    assert_eq!(
        last(&walk(&["worker1"], &all, &call)),
        "the node at 10.79.1.202 is not among those that are known: give its --flows"
    );
    assert_eq!(
        last(&walk(&NODES, &all, &["frontend", "10.104.65.133:80"])),
        "10.104.65.133:80 is a service's address, and nothing says where it leads: give --cluster, or --endpoint ADDRESS:PORT"
    );
    let nobody = walk(&NODES, &all, &["frontend", "backendsvc:80"]);
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.ends_with("services are known by --cluster\n"), "{said}");
}

#[test]
fn json_is_the_same_story() {
    let output = walk(&NODES, &["flows", "ports", "routes"], &["--json", "worker1", "who-has 10.222.2.1"]);
    let story: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(story["arrived"], true);
    assert_eq!(story["end"], "worker1's host hears that 10.222.2.1 is at aa:bb:cc:dd:ee:ff");
    assert_eq!(story["parts"][1]["place"], "bridge");
    assert_eq!(story["parts"][1]["walk"]["leaves"][0]["is_answer"], true);
}
