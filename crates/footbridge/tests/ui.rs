//! `footbridge ui` in headless Chromium, and `footbridge top`, on a lab's running node.
//!
//! Needs root, the lab's programs, and Chromium for the page; else a test says `skipped: NAME: why`.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

#[allow(dead_code, reason = "the lab's own tests use the rest of it")]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use support::{Lab, text};

const BROWSER: &str = "chromium-headless-shell";

/// A page being served.
struct Ui {
    process: Child,
    address: String,
}

impl Ui {
    fn of(lab: &Lab, node: &str) -> Ui {
        let mut process = Command::new(env!("CARGO_BIN_EXE_footbridge"))
            .args(["ui", "--name", lab.name(), "--node", node, "--listen", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("the page is at ").unwrap().to_owned();
        Ui { process, address }
    }

    /// What the page is like after its script ran for some seconds.
    fn page(&self, fragment: &str, width: u32) -> String {
        let output = Command::new(BROWSER)
            .args(["--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=6000"])
            .arg(format!("--window-size={width},2000"))
            .arg(format!("{}#{fragment}", self.address))
            .output()
            .unwrap();
        text(&output.stdout)
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn browser_lacking() -> Option<String> {
    let found = Command::new(BROWSER).arg("--version").output().is_ok_and(|output| output.status.success());
    support::lacking().or_else(|| (!found).then(|| format!("there is no {BROWSER}")))
}

/// How often a piece of text is in another.
fn count(page: &str, piece: &str) -> usize {
    page.matches(piece).count()
}

#[test]
fn the_page_shows_the_running_bridge_and_walks_a_packet() {
    if let Some(why) = browser_lacking() {
        println!("skipped: the_page_shows_the_running_bridge_and_walks_a_packet: {why}");
        return;
    }
    let lab = Lab::new("the_page");
    lab.ok(&["up"]);
    lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
    let ui = Ui::of(&lab, "worker1");
    let packet = "in_port%3Dantrea-gw0%2Carp%2Carp_op%3D1%2Carp_spa%3D10.222.1.1%2C\
                  arp_sha%3D4e:99:08:c1:53:be%2Carp_tpa%3D10.222.2.1";
    let page = ui.page(&format!("packet={packet}"), 1280);
    assert_eq!(count(&page, "data-table="), 14, "a box for each table:\n{page}");
    assert!(page.contains("userspace datapath") || page.contains("ebpf datapath"), "{page}");
    assert!(
        page.contains("frontend-a3ba2f") && page.contains("<code>flow_drop</code>")
            || page.contains("none yet")
    );
    assert!(page.contains("tcp,orig=(src=10.222.1.48,dst=10.104.65.133"), "the call's connection:\n{page}");
    // The picture and the text of the walk, with its end.
    assert_eq!(count(&page, "class=\"lit\""), 4, "three tables and the end:\n{page}");
    assert!(page.contains("back to where it came from: the bridge's own answer"), "{page}");
    let searched = ui.page("search=table%3D20", 390);
    assert!(searched.contains("<span id=\"found\">4 flows</span>"), "{searched}");
    let spoofed = ui.page("packet=nonsense", 390);
    assert!(spoofed.contains("the packet: column 1: "), "{spoofed}");
    drop(ui);
    lab.ok(&["down"]);
}

#[test]
fn top_says_what_passes() {
    if let Some(why) = support::lacking() {
        println!("skipped: top_says_what_passes: {why}");
        return;
    }
    let lab = Lab::new("top");
    lab.ok(&["up"]);
    let top = Command::new(env!("CARGO_BIN_EXE_footbridge"))
        .args(["top", "--name", lab.name(), "--node", "worker1", "--json", "--interval", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..5 {
        lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
    }
    let rates: serde_json::Value = serde_json::from_slice(&top.wait_with_output().unwrap().stdout).unwrap();
    let guard = rates["flows"].as_array().unwrap().iter().find(|flow| {
        flow["table"] == 10
            && flow["match"].as_str().is_some_and(|m| m.starts_with("ip,in_port=\"frontend-a3ba2f\""))
    });
    assert!(guard.is_some_and(|flow| flow["packets_per_second"].as_f64() > Some(1.0)), "{rates:#}");
    lab.ok(&["down"]);
}
