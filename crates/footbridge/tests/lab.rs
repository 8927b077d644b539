//! The lab on a real kernel: up, exec, status, the steps, down, and what is left after each way to end.
//!
//! Needs root and the lab's programs; else every test says `skipped: NAME: why`. Labs have names of
//! this process, so that runs side by side don't meet.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Lab, host, text};

/// A test of a lab: skipped by name when something is `lacking` here.
macro_rules! lab_tests {
    ($lacking:path; $( $(#[$doc:meta])* fn $name:ident($lab:ident) $body:block )*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            if let Some(why) = $lacking() {
                println!("skipped: {}: {why}", stringify!($name));
                return;
            }
            let $lab = Lab::new(stringify!($name));
            $body
        }
    )* };
}

lab_tests! {
    support::lacking;

    fn up_exec_status_down(lab) {
        let before = host();
        lab.ok(&["up"]);
        let status: serde_json::Value = serde_json::from_str(&lab.ok(&["status", "--json"])).unwrap();
        assert_eq!(status["ready"], true, "{status:#}");
        let printed = lab.ok(&["status"]);
        assert_eq!(printed.matches("pid ").count(), 5, "three agents and two web servers:\n{printed}");

        let answer = lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
        assert!(answer.starts_with("Praqma Network MultiTool (with NGINX) - backend"), "{answer}");
        let inside = lab.run(&["exec", "frontend", "--", "sh", "-c", "exit 7"]);
        assert_eq!(inside.status.code(), Some(7), "exec passes the exit status on");
        let devices = lab.ok(&["exec", "frontend", "--", "ls", "/sys/class/net"]);
        assert_eq!(devices.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"], "/sys is the pod's");
        let flows = lab.ok(&["exec", "worker1", "--", "footbridge", "flows", "table=20"]);
        assert_eq!(flows, include_str!("../labs/article-table-20.txt"));
        // Open vSwitch's own client prints the same page, but for the spaces before each line.
        let dump = ["ovs-ofctl", "dump-flows", "br-int", "table=20", "--no-stats", "--names"];
        let dump = lab.ok(&[&["exec", "worker1", "--"], &dump[..]].concat());
        let lines = |text: &str| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&dump), lines(include_str!("../labs/article-table-20.txt")));
        let show = lab.ok(&["exec", "worker1", "--", "ovs-ofctl", "show", "br-int"]);
        assert!(show.contains(" 2(antrea-gw0): addr:"), "{show}");

        let unknown = lab.run(&["exec", "nobody", "--", "true"]);
        assert_eq!(unknown.status.code(), Some(1));
        assert!(text(&unknown.stderr).contains("no node or pod nobody; it has: "), "{}", text(&unknown.stderr));
        let missing = lab.run(&["exec", "frontend", "--", "no-such-program"]);
        assert_eq!(missing.status.code(), Some(127));
        let second = lab.run(&["up"]);
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second.stderr).contains("is there already"), "{}", text(&second.stderr));

        lab.ok(&["down"]);
        assert_eq!(lab.left(), Vec::<String>::new());
        assert_eq!(host(), before, "the host is as before");
        assert_eq!(lab.run(&["down"]).status.code(), Some(1), "no lab, no down");
    }

    fn every_step_holds_for_the_article_and_leaves_nothing_three_times_in_a_row(lab) {
        let before = host();
        for _ in 0..3 {
            let printed = lab.ok(&[]);
            assert!(printed.ends_with("every step held\n"), "{printed}");
            assert!(!printed.contains("not applicable"), "{printed}");
            assert_eq!(lab.left(), Vec::<String>::new());
            assert_eq!(host(), before, "the host is as before");
        }
    }

    fn a_story_of_the_running_nodes_is_that_of_their_dumps_and_the_same_each_time(lab) {
        lab.ok(&["up"]);
        let call = ["frontend", "backendsvc:80", "--endpoint", "10.222.2.34:80"];
        let told = lab.story(&call);
        let of_dumps = include_str!("data/cluster/service-call-to-the-other-node.txt");
        let ends = |story: &str| story.lines().filter(|line| line.contains(" bridge: TCP")).count();
        assert_eq!(ends(&told), ends(of_dumps), "{told}");
        assert!(told.ends_with("frontend has its answer\n"), "{told}");
        assert_eq!(lab.story(&call), told);
        // The call that is really made is answered by whom the story says, on the same way.
        let answer = lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "10.222.2.34"]);
        assert!(answer.contains("backend2"), "{answer}");
        // The host has now heard from the bridge who has the gateway's address, and does not ask again.
        let (before, after) = (told, lab.story(&call));
        assert!(before.contains("who-has 10.222.2.1") || after.contains("neighbour: 10.222.2.1 is at aa:bb:cc:dd:ee:ff"));
        let asked = lab.story(&["worker1", "who-has", "10.222.2.1"]);
        assert!(asked.ends_with("hears that 10.222.2.1 is at aa:bb:cc:dd:ee:ff\n"), "{asked}");
        // Inside a node, a packet goes through its own bridge.
        let spoofed = "in_port=frontend-a3ba2f,ip,dl_src=be:2c:bf:e4:ec:c5,nw_src=10.222.1.47";
        let walked = lab.ok(&["exec", "worker1", "--", "footbridge", "walk", "--why-not", spoofed]);
        assert!(walked.contains("ip_src is 10.222.1.47, not 10.222.1.48"), "{walked}");
        assert!(walked.ends_with("drop: flow_drop (table 10)\n"), "{walked}");
        lab.ok(&["down"]);
    }

    fn every_step_holds_for_another_cluster(lab) {
        let printed = lab.ok(&["--file", "small"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    /// The same with the flows compiled into the kernel, tracked connections too.
    fn every_step_holds_in_the_kernel_and_leaves_nothing(lab) {
        let before = host();
        let printed = lab.ok(&["--datapath", "ebpf"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        let printed = lab.ok(&["--datapath", "ebpf", "--file", "small"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        assert_eq!(before, host());
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn every_step_holds_without_tunnels(lab) {
        let before = host();
        for mode in ["noencap", "hybrid"] {
            let printed = lab.ok(&["--encap", mode]);
            assert!(printed.ends_with("every step held\n"), "{mode}:\n{printed}");
            assert_eq!(printed.matches("not applicable").count(), 1, "{mode}: step 4 alone\n{printed}");
        }
        assert_eq!(before, host());
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn two_labs_run_side_by_side(lab) {
        let other = Lab::new("side-by-side-2");
        lab.ok(&["up"]);
        other.ok(&["up", "--file", "small"]);
        let answer = lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
        assert!(answer.contains("backend"), "{answer}");
        let answer = other.ok(&["exec", "client", "--", "curl", "-sS", "--max-time", "5", "store"]);
        assert!(answer.contains("store-"), "{answer}");
        lab.ok(&["down"]);
        let answer = other.ok(&["exec", "client", "--", "curl", "-sS", "--max-time", "5", "store"]);
        assert!(answer.contains("store-"), "the other lab is not disturbed: {answer}");
        other.ok(&["down"]);
        assert_eq!([lab.left(), other.left()].concat(), Vec::<String>::new());
    }

    fn an_agent_killed_during_the_steps_fails_the_run_and_leaves_nothing(lab) {
        let mut run = lab.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("3 ")).expect("step 3 begins");
        let agent = lab.recorded_pid("worker2");
        kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
        lines.for_each(drop);
        let ended = run.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(4), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains("the agent of worker2 ended by itself"), "{}", text(&ended.stderr));
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn a_step_that_does_not_hold_fails_the_run_and_leaves_nothing(lab) {
        let mut run = lab.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("1 ")).expect("step 1 begins");
        kill(Pid::from_raw(lab.recorded_pid("backend2")), Signal::SIGKILL).unwrap();
        let printed: Vec<String> = lines.map_while(Result::ok).collect();
        let ended = run.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(3), "{}", text(&ended.stderr));
        assert_eq!(text(&ended.stderr), "footbridge: step 3 did not hold\n");
        assert!(printed.iter().any(|l| l.contains("FAILED backend2 on worker2 answers frontend")), "{printed:#?}");
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn a_port_that_vanishes_is_said_and_disturbs_no_other(lab) {
        lab.ok(&["up"]);
        lab.ok(&["exec", "worker1", "--", "ip", "link", "del", "coredns--3e3abf"]);
        let ports = || lab.ok(&["exec", "worker1", "--", "footbridge", "ports"]);
        let gone = |ports: &str| ports.lines().any(|l| l.contains("coredns--3e3abf") && l.contains("absent"));
        let deadline = Instant::now() + Duration::from_secs(5);
        while !gone(&ports()) {
            assert!(Instant::now() < deadline, "{}", ports());
            std::thread::sleep(Duration::from_millis(50));
        }
        let answer = lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
        assert!(answer.contains("backend"), "{answer}");
        lab.ok(&["down"]);
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn interrupting_a_run_leaves_nothing(lab) {
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let mut run = lab.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
            lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("2 ")).expect("step 2 begins");
            kill(Pid::from_raw(run.id().cast_signed()), signal).unwrap();
            lines.for_each(drop);
            assert_eq!(run.wait().unwrap().code(), Some(status));
            assert_eq!(lab.left(), Vec::<String>::new());
        }
    }

    fn interrupting_while_it_comes_up_leaves_nothing(lab) {
        for milliseconds in [1, 30, 100, 200, 350] {
            let mut run = lab.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
            let status = run.wait().unwrap();
            if status.success() {
                lab.ok(&["down"]);
            }
            assert_eq!(lab.left(), Vec::<String>::new(), "after {milliseconds} ms: {status}");
        }
    }

    fn down_ends_a_lab_that_is_coming_up(lab) {
        for milliseconds in [30, 100, 200, 350] {
            let mut run = lab.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            let down = lab.run(&["down"]);
            if text(&down.stderr).contains("there is no lab") {
                // It was quicker than the lab's first file.
                run.wait().unwrap();
                lab.ok(&["down"]);
            } else {
                assert!(down.status.success(), "after {milliseconds} ms: {}", text(&down.stderr));
                run.wait().unwrap();
            }
            assert_eq!(lab.left(), Vec::<String>::new(), "after {milliseconds} ms");
        }
    }

    fn a_cluster_with_its_services_elsewhere_works_when_told_where(lab) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cluster.yaml");
        fs::write(&file, include_str!("../labs/article.yaml").replace("10.104.65.133", "172.20.65.133")).unwrap();
        let file = file.to_str().unwrap();
        let run = lab.run(&["up", "--file", file]);
        assert_eq!(run.status.code(), Some(1));
        let said = text(&run.stderr);
        assert!(said.contains("172.20.65.133") && said.contains("--service-cidr"), "{said}");
        assert_eq!(lab.left(), Vec::<String>::new());
        let printed = lab.ok(&["--file", file, "--service-cidr", "172.20.0.0/16", "--tunnel-type", "geneve"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn down_cleans_up_after_a_killed_lab(lab) {
        let before = host();
        let mut run = lab.command(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("3 ")).expect("step 3 begins");
        run.kill().unwrap();
        assert_eq!(run.wait().unwrap().signal(), Some(9));
        let shell = lab.command(&["exec", "backend1", "--", "sleep", "600"]).spawn();
        let again = lab.run(&["up"]);
        assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
        lab.ok(&["down"]);
        assert!(!shell.unwrap().wait().unwrap().success(), "what ran inside is ended");
        assert_eq!(lab.left(), Vec::<String>::new());
        assert_eq!(host(), before, "the host is as before");
    }

    fn down_cleans_up_wherever_the_lab_was_killed_while_it_came_up(lab) {
        for milliseconds in [5, 40, 80, 160, 320] {
            let mut run = lab.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            run.kill().unwrap();
            run.wait().unwrap();
            let down = lab.run(&["down"]);
            assert!(down.status.success() || text(&down.stderr).contains("there is no lab"), "{}", text(&down.stderr));
            assert_eq!(lab.left(), Vec::<String>::new(), "after {milliseconds} ms");
        }
    }

    fn a_bad_cluster_file_makes_nothing(lab) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.yaml");
        let node = |name: &str, cidr: &str, address: &str| format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: {cidr}}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n");
        let cases = [
            (node("a", "10.1.0.0/16", "10.9.0.1") + &node("b", "10.1.4.0/24", "10.9.0.2"), "10.1.4.0/24"),
            (node("a", "10.1.0.0/16", "10.9.0.2") + &node("b", "10.2.0.0/16", "10.8.0.2"), "one subnet"),
            (node("underlay", "10.1.0.0/16", "10.9.0.2"), "can't be called underlay"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n".to_owned(), "Secret"),
            (String::new(), "the file has no node"),
        ];
        for (contents, expected) in cases {
            fs::write(&file, &contents).unwrap();
            let run = lab.run(&["up", "--file", file.to_str().unwrap()]);
            assert_eq!(run.status.code(), Some(1), "{contents}");
            assert!(text(&run.stderr).contains(expected), "{expected}: {}", text(&run.stderr));
            assert_eq!(lab.left(), Vec::<String>::new());
        }
        let run = lab.run(&["up", "--file", "/no/such/file.yaml"]);
        assert!(text(&run.stderr).contains("cannot read /no/such/file.yaml: No such file"), "{}", text(&run.stderr));
    }

    fn a_bad_new_cluster_file_leaves_the_running_network_alone(lab) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cluster.yaml");
        let article = include_str!("../labs/article.yaml");
        fs::write(&file, article).unwrap();
        lab.ok(&["up", "--file", file.to_str().unwrap()]);
        let flows = || lab.ok(&["exec", "worker1", "--", "footbridge", "flows"]);
        let before = flows();
        fs::write(&file, article.replace("podCIDR: 10.222.2.0/24", "podCIDR: 10.222.1.0/24")).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(flows(), before);
        let answer = lab.ok(&["exec", "frontend", "--", "curl", "-sS", "--max-time", "5", "backendsvc"]);
        assert!(answer.contains("backend"), "{answer}");
        lab.ok(&["down"]);
    }

    fn the_state_that_a_reboot_left_is_not_taken_over(lab) {
        lab.ok(&["up"]);
        let (state, kept) = (lab.state_dir(), tempfile::tempdir().unwrap());
        let copy = |from: &Path, to: &Path| assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
        copy(&state, &kept.path().join("state"));
        lab.ok(&["down"]);
        fs::create_dir_all(state.parent().unwrap()).unwrap();
        copy(&kept.path().join("state"), &state);
        lab.ok(&["up"]);
        let flows = lab.ok(&["exec", "worker1", "--", "footbridge", "flows", "table=20"]);
        assert_eq!(flows, include_str!("../labs/article-table-20.txt"), "round 1 again");
        lab.ok(&["down"]);
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    /// The limits are the issue's: 1 % of a core, 30 MiB. Of a program built without optimisation only what is its own
    /// is counted: its code, which all agents share, is several times that of one that is installed.
    fn an_idle_agent_is_small(lab) {
        lab.ok(&["up"]);
        std::thread::sleep(Duration::from_secs(3));
        let ticks = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<u64> = stat.rsplit_once(") ").unwrap().1.split(' ').map(|f| f.parse().unwrap_or(0)).collect();
            fields[11] + fields[12]
        };
        let agents = ["master", "worker1", "worker2"].map(|node| lab.recorded_pid(node));
        let (before, began) = (agents.map(ticks), Instant::now());
        std::thread::sleep(Duration::from_secs(10));
        let (after, seconds) = (agents.map(ticks), began.elapsed().as_secs_f64());
        for (i, pid) in agents.into_iter().enumerate() {
            // A tick is a hundredth of a second on every Linux that the lab runs on.
            let share = (after[i] - before[i]) as f64 / seconds;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let counted = if cfg!(debug_assertions) { "RssAnon:" } else { "VmRSS:" };
            let line = status.lines().find(|l| l.starts_with(counted)).unwrap();
            let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            println!("agent {i}: {share:.2} % of a core, {kib} KiB");
            assert!(share < 1.0, "agent {i} uses {share:.2} % of a core");
            assert!(kib < 30 * 1024, "agent {i} has {kib} KiB");
        }
        lab.ok(&["down"]);
    }
}

lab_tests! {
    support::lacking_open_vswitch;

    fn every_step_holds_on_open_vswitch_and_nothing_is_left(lab) {
        let before = host();
        let printed = lab.ok(&["--bridge", "ovs"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        assert!(!printed.contains("not applicable"), "{printed}");
        for table in ["10", "20"] {
            let claim = format!("holds  table {table} is what the article prints, byte for byte");
            assert!(printed.contains(&claim), "{printed}");
        }
        assert_eq!(lab.left(), Vec::<String>::new());
        assert_eq!(host(), before, "the host is as before");
    }

    fn every_step_holds_on_open_vswitch_with_another_cluster_and_geneve(lab) {
        let printed = lab.ok(&["--bridge", "ovs", "--file", "small", "--tunnel-type", "geneve"]);
        assert!(printed.ends_with("every step held\n"), "{printed}");
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn an_open_vswitch_that_ends_during_the_steps_fails_the_run_and_leaves_nothing(lab) {
        let mut run =
            lab.command(&["--bridge", "ovs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("3 ")).expect("step 3 begins");
        kill(Pid::from_raw(lab.recorded_switch("worker2")), Signal::SIGKILL).unwrap();
        lines.for_each(drop);
        let ended = run.wait_with_output().unwrap();
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(4), "{said}");
        assert!(said.contains("the ovs-vswitchd of worker2 ended by itself"), "{said}");
        assert_eq!(lab.left(), Vec::<String>::new());
    }

    fn ctrl_c_and_down_after_a_kill_leave_nothing_of_a_lab_with_open_vswitch(lab) {
        for (milliseconds, signal) in [(150, Signal::SIGINT), (600, Signal::SIGKILL), (1000, Signal::SIGKILL)] {
            let mut run =
                lab.command(&["--bridge", "ovs"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            kill(Pid::from_raw(run.id().cast_signed()), signal).unwrap();
            run.wait().unwrap();
            if signal == Signal::SIGKILL {
                let down = lab.run(&["down"]);
                assert!(down.status.success() || text(&down.stderr).contains("there is no lab"), "{}", text(&down.stderr));
            }
            assert_eq!(lab.left(), Vec::<String>::new(), "{signal} after {milliseconds} ms");
        }
    }

    fn status_tells_of_an_open_vswitch_that_has_ended(lab) {
        lab.ok(&["up", "--bridge", "ovs"]);
        assert!(!lab.ok(&["status"]).contains("not ready"));
        kill(Pid::from_raw(lab.recorded_switch("worker1")), Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !lab.ok(&["status"]).lines().any(|line| line.starts_with("worker1 ") && line.contains("not ready")) {
            assert!(Instant::now() < deadline, "{}", lab.ok(&["status"]));
            std::thread::sleep(Duration::from_millis(50));
        }
        lab.ok(&["down"]);
        assert_eq!(lab.left(), Vec::<String>::new());
    }
}
