# containerd with the plugin that `footbridge install` puts in place, in mount and network namespaces of their own; runs one
# container on the pod network and prints what it sees.
#
#   containerd.sh FOOTBRIDGE RUN_DIR STATE_DIR WORK_DIR
set -euo pipefail
footbridge=$1 run=$2 state=$3 work=$4

# ctr looks there and nowhere else.
mount -t tmpfs none /etc/cni
mount -t tmpfs none /opt/cni
mount -t tmpfs none /var/lib/cni
"$footbridge" install --run-dir "$run" --state-dir "$state" >&2

mkdir -p "$work/rootfs/bin"
cp "$(command -v busybox)" "$work/rootfs/bin/"
for applet in sh ip ping; do ln -sf busybox "$work/rootfs/bin/$applet"; done

cat >"$work/config.toml" <<CONFIG
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/sock"
[ttrpc]
address = "$work/ttrpc"
CONFIG
containerd --config "$work/config.toml" >"$work/log" 2>&1 &
containerd=$!
trap 'kill $containerd; wait $containerd || true' EXIT
for _ in $(seq 300); do
    [ ! -S "$work/sock" ] || break
    sleep 0.1
done
# To a file: of what a container prints last ctr may lose some.
ctr -a "$work/sock" run --rm --cni --rootfs "$work/rootfs" "fb-$$" \
    /bin/sh -c 'export PATH=/bin; { ip -4 addr show eth0; ip route; ping -c 1 -W 5 10.222.1.1; } >/seen' ||
    { tail -20 "$work/log" >&2; exit 1; }
cat "$work/rootfs/seen"
