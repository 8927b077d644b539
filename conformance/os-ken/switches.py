"""The switches of a test: Open vSwitch and Footbridge, run in the network namespace of the caller.

Each is a bridge with ports 1, 2, … on the devices given, without flows, that connects to a controller on
127.0.0.1:6653 and speaks OpenFlow 1.3. The processes are children of the caller; nothing ends them here,
because they live in a PID namespace that ends with the caller (see shard.py).
"""

import os
import subprocess
import time

CONTROLLER = "tcp:127.0.0.1:6653"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class StartError(Exception):
    """A switch that did not start, and what it said."""


def start_ovs(bridges, directory):
    """An Open vSwitch of its own, with the userspace datapath. Returns its processes.

    `bridges` are (name, datapath id, devices). They share the one process, because a second one in the same
    network namespace could not make its device `ovs-netdev`.
    """
    directory.mkdir()
    environment = os.environ | {key: str(directory) for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")}
    database, socket = directory / "conf.db", directory / "db.sock"

    def run(*words):
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise StartError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")

    def spawn(program, *words):
        log = open(directory / f"{program}.log", "w")
        return subprocess.Popen([program, *words], env=environment, stdout=log, stderr=log)

    run("ovsdb-tool", "create", database, OVS_SCHEMA)
    server = spawn("ovsdb-server", database, f"--remote=punix:{socket}", f"--unixctl={directory}/db.ctl")
    wait_for(socket, "ovsdb-server")
    run("ovs-vsctl", f"--db=unix:{socket}", "--no-wait", "init")
    vswitchd = spawn("ovs-vswitchd", f"unix:{socket}", "--disable-system", f"--unixctl={directory}/vs.ctl")
    wait_for(directory / "vs.ctl", "ovs-vswitchd")
    commands = []
    for name, dpid, devices in bridges:
        commands += ["--", "add-br", name, "--", "set", "bridge", name, "datapath-type=netdev", "fail-mode=secure",
                     "protocols=OpenFlow13", f"other-config:datapath-id={dpid}", "other-config:disable-in-band=true",
                     "--", "set-controller", name, CONTROLLER, "--", "set", "controller", name, "max-backoff=1000"]
        for number, device in enumerate(devices, 1):
            commands += ["--", "add-port", name, device, "--", "set", "interface", device, f"ofport-request={number}"]
    run("ovs-vsctl", f"--db=unix:{socket}", "--timeout=30", *commands)
    return [server, vswitchd]


def start_footbridge(program, dpid, devices, directory):
    """`footbridge switch`. Returns its process."""
    directory.mkdir()
    ports = [word for number, device in enumerate(devices, 1) for word in ("--port", f"{device}={number}")]
    log = open(directory / "footbridge.log", "w")
    return [subprocess.Popen(
        [program, "switch", "--bridge", "br0", "--dpid", dpid, "--run-dir", directory, *ports, "--controller", CONTROLLER],
        stdout=log, stderr=log)]


def wait_for(socket, program, seconds=20):
    deadline = time.monotonic() + seconds
    while not socket.exists():
        if time.monotonic() > deadline:
            raise StartError(f"{program} did not come up in {seconds} s")
        time.sleep(0.02)
