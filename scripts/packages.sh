# shellcheck shell=bash
# What Footbridge's scripts need of a Debian machine, and functions that bring what is missing, and say so.
# Sourced by ./lab, ./test and .ci/run.

# What the agent and the lab run: nft programs the host's firewall; ip, tcpdump and curl are the
# independent witnesses that the lab shows.
LAB_PACKAGES="nftables iproute2 tcpdump curl"

# What the lab runs besides with --bridge ovs.
OVS_PACKAGES="openvswitch-switch"

# What the CNI plugin is tested with: the reference plugins, containerd, and what builds cnitool.
CNI_PACKAGES="containernetworking-plugins iptables containerd runc busybox-static golang-go dpkg-dev"

# What the tests compare with, besides: Open vSwitch as an oracle, clients of other makes, Python for os-ken; and a
# browser for the page (64 MB to fetch, without a window system).
TEST_PACKAGES="build-essential $OVS_PACKAGES $CNI_PACKAGES arping iputils-ping iperf3 netcat-openbsd ethtool jq procps
    python3 python3-venv chromium-headless-shell openssl util-linux"

# need PACKAGE…: install the packages that are not installed yet, and say so.
need() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "These Debian packages are needed and missing: ${missing[*]}. As root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "Installing Debian packages: ${missing[*]}"
    # A service that a package brings is not to run on this machine: the tests start their own.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1
    fi
    local status=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >/dev/null || status=$?
    [ -z "$made" ] || rm -f $policy
    return $status
}

# need_hosts_file: the lab mounts its pods' names over /etc/hosts, which a minimal Debian lacks.
need_hosts_file() {
    [ ! -e /etc/hosts ] || return 0
    echo "Making /etc/hosts, which this machine lacks"
    printf '127.0.0.1\tlocalhost\n' >/etc/hosts
}
