# shellcheck shell=bash
# Processes that outlive the script which starts them, each with a pid file and a log in $place; and
# namespaces. Sourced by the scripts beside it, which set `place`.

# in_netns NS COMMAND…: become COMMAND in a network namespace, in the mount namespace of the caller.
in_netns() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

# start NAME COMMAND…: run it in the background, in a session of its own.
start() {
    local name=$1
    shift
    # The shell that is started writes its own pid, and COMMAND's programs are exec'ed in its place.
    (
        exec </dev/null >>"$place/$name.log" 2>&1
        exec 9>&- 3>&-
        if [ "$1" = in_netns ]; then set -- nsenter --net="/run/netns/$2" -- "${@:3}"; fi
        # shellcheck disable=SC2016 # For the inner shell.
        exec setsid --fork sh -c 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0" && exec "$@"' "$place/$name.pid" "$@"
    )
    eventually "$name has a pid" test -s "$place/$name.pid"
}

# The process of a name, if it is still the one that was started: a pid may have become another's.
process() {
    local pid started
    read -r pid started <"$place/$1.pid" 2>/dev/null || return 1
    [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ] && echo "$pid"
}

# stop NAME: end it, kindly at first.
stop() {
    local pid signal
    for signal in TERM KILL; do
        pid=$(process "$1") || break
        kill -s $signal "$pid" 2>/dev/null || break
        for ((i = 0; i < 100; i++)); do
            process "$1" >/dev/null || break 2
            sleep 0.05
        done
    done
    rm -f "$place/$1.pid"
}

# Everything that was started in $place, the last first.
stop_all() {
    local file name
    # shellcheck disable=SC2012 # By time, of names that are ours.
    for file in $(ls -t "$place"/*.pid 2>/dev/null); do
        name=$(basename "$file" .pid)
        stop "$name"
    done
}

# eventually WHAT COMMAND…: wait until it succeeds, four minutes at most, which is for busy machines.
eventually() {
    local what=$1 end=$((SECONDS + 240))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "not within 240 s: $what" >&2; return 1; }
        sleep 0.1
    done
}
