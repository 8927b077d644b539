"""A part of the suites against one switch, in a network and PID namespace of its own.

    unshare --net --mount --pid --fork --kill-child --mount-proc \
        PYTHON shard.py ovs|FOOTBRIDGE SETTLE TESTS RESULTS

    ┌──────────────────── os-ken (this process) ───────────────────┐
    │                        127.0.0.1:6653                        │
    └──────────┬────────────────────────────────────────┬──────────┘
          ┌────┴─────┐  1 target1 ──── tester1 1  ┌─────┴────┐
          │  target  │  2 target2 ──── tester2 2  │  tester  │
          │          │  3 target3 ──── tester3 3  │  (OVS)   │
          └──────────┘                            └──────────┘

The tester sends a packet from its port 1; what the target puts out of its port 2 comes back to the tester,
which sends it to os-ken.

This process is the PID namespace's first: when it ends, however it ends, the kernel kills the switches, and
with the last process go the devices and the mounts. So nothing here cleans up.
SETTLE, TESTS and RESULTS are recorder.py's. Exit status: 0 when every test was run, 3 where a switch did
not start or ended by itself.
"""

import os
import pathlib
import subprocess
import sys

import switches

# Private to this mount namespace: sockets, databases and logs of the switches.
SCRATCH = pathlib.Path("/run")
PORTS = 3
TARGET, TESTER = "0000000000000001", "0000000000000002"


def main(target, *settings):
    prepare_namespaces()
    tester = ("tester", TESTER, devices("tester"))
    if target == "ovs":
        processes = switches.start_ovs([tester, ("target", TARGET, devices("target"))], SCRATCH / "ovs")
    else:
        processes = switches.start_ovs([tester], SCRATCH / "ovs")
        processes += switches.start_footbridge(target, TARGET, devices("target"), SCRATCH / "footbridge")
    run_controller(processes, *settings)


def devices(side):
    return [f"{side}{number}" for number in range(1, PORTS + 1)]


def prepare_namespaces():
    def run(*words):
        subprocess.run(words, check=True)

    run("mount", "-t", "tmpfs", "tmpfs", SCRATCH)
    # /sys shows the devices of the network namespace that mounted it.
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    # An address would make the kernel send router solicitations among the tests' packets.
    pathlib.Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    run("ip", "link", "set", "lo", "up")
    for ours, theirs in zip(devices("target"), devices("tester")):
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs)
        for device in (ours, theirs):
            run("ip", "link", "set", device, "up")


def run_controller(processes, settle, tests, results):
    """Never returns: the recorder exits when its tests are done."""
    os.environ |= {"OS_KEN_SETTLE": settle, "OS_KEN_TESTS": tests, "OS_KEN_RESULTS": results}
    # Not before the switches are started: it puts os-ken's waiting in place of Python's.
    import controller

    def watch():
        while True:
            for process in processes:
                if process.poll() is not None:
                    give_up(f"{process.args[0]} ended by itself, status {process.returncode}")
            controller.hub.sleep(0.5)

    controller.run("recorder", beside=watch)


def give_up(why):
    print(why, file=sys.stderr)
    for log in sorted(SCRATCH.glob("*/*.log")):
        print(f"-- {log.relative_to(SCRATCH)}", *log.read_text().splitlines()[-20:], sep="\n", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except switches.StartError as error:
        give_up(error)
