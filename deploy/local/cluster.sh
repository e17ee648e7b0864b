#!/usr/bin/env bash
# A cluster on this machine that outlives the terminal: one coordinator and some workers.
set -eu

usage() {
    cat <<'END'
usage: cluster.sh start [WORKERS] [THREADS]   start a coordinator and its workers
       cluster.sh status                      show what runs; exit 1 if not all of it does
       cluster.sh stop                        end all of it

WORKERS is the number of worker processes, by default one for each core; THREADS the number of
threads of each, by default 1. In the environment:
  DISTIO_PORT    where the coordinator listens on 127.0.0.1 (7077)
  DISTIO_DIR     for keys, pid files and logs, yours alone ($XDG_RUNTIME_DIR/distio-$UID)
  DISTIO_PYTHON  a Python that has distio (that of .venv here, or else python3)
END
}

fail() {
    echo "cluster.sh: $1" >&2
    exit "${2:-1}"
}

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${DISTIO_DIR:-${XDG_RUNTIME_DIR:-/tmp}/distio-$UID}
port=${DISTIO_PORT:-7077}
url=tcp://127.0.0.1:$port
export DISTIO_KEYS=$dir/keys
python=${DISTIO_PYTHON:-$root/.venv/bin/python}
[ -n "${DISTIO_PYTHON:-}" ] || [ -x "$python" ] || python=python3

# Another user may have made a directory of this name in /tmp, to read along or to have us kill
# a process of ours.
make_private_directory() {
    [ -d "$dir" ] || mkdir -m 700 "$dir" || fail "can't make $dir; set DISTIO_DIR to another"
    { [ ! -L "$dir" ] && [ -O "$dir" ]; } ||
        fail "$dir is not your directory; set DISTIO_DIR to another"
    chmod 700 "$dir"
}

# Prints the pid of process $1 (coordinator, worker-1, ...) if it runs. The pid of a process
# that has ended may be another's by now: its command line has to be the one that was started.
pid_of() {
    local pid command
    [ -O "$dir/$1.pid" ] || return 1
    { read -r pid && IFS= read -r command; } <"$dir/$1.pid" || return 1
    { [ -n "$command" ] && [ "$(command_of "$pid")" = "$command" ]; } || return 1
    echo "$pid"
}

command_of() {
    { tr '\0\n' '  ' <"/proc/$1/cmdline"; } 2>/dev/null || true
}

# Starts `python -m $2...` as process $1.
launch() {
    local name=$1 pid
    shift
    nohup "$python" -m "$@" </dev/null >"$dir/$name.log" 2>&1 &
    pid=$!
    # until it has become python, its command line is ours
    for _ in {1..50}; do
        case $(command_of "$pid") in *" -m $*"*) break ;; esac
        sleep 0.02
    done
    printf '%s\n%s\n' "$pid" "$(command_of "$pid")" >"$dir/$name.pid"
}

# The processes that were started and not stopped, the coordinator last.
names() {
    local file
    for file in "$dir"/worker-*.pid "$dir/coordinator.pid"; do
        [ ! -e "$file" ] || basename "$file" .pid
    done
}

start() {
    local workers=${1:-$(getconf _NPROCESSORS_ONLN)} threads=${2:-1} number
    for number in "$workers" "$threads"; do
        [[ $number =~ ^[1-9][0-9]*$ ]] || fail "$number is not a number from 1; see --help" 64
    done
    [[ $port =~ ^[1-9][0-9]*$ ]] || fail "DISTIO_PORT is $port, but has to be a number" 64
    command -v "$python" >/dev/null ||
        fail "there is no $python; run 'make demo' first, or set DISTIO_PYTHON"
    make_private_directory
    if pid_of coordinator >/dev/null; then
        echo 'It runs already; to start it anew, stop it first.'
        status
        return
    fi
    stop_all # workers that have lost their coordinator

    [ -e "$DISTIO_KEYS" ] || "$python" -m distio.cli.main keygen "$DISTIO_KEYS" >/dev/null ||
        fail "can't make keys in $DISTIO_KEYS"
    launch coordinator distio.cli.main coordinator --bind "$url"
    for _ in {1..100}; do
        grep -q "ready at" "$dir/coordinator.log" && break
        pid_of coordinator >/dev/null || break
        sleep 0.1
    done
    if ! grep -q "ready at" "$dir/coordinator.log"; then
        stop_all
        fail "the coordinator did not start: $(tail -n 1 "$dir/coordinator.log")"
    fi
    for number in $(seq "$workers"); do
        launch "worker-$number" distio_worker.main "$url" --threads "$threads"
    done
    sleep 0.5 # what can't start at all has ended by then
    status
}

status() {
    local name pid all=0
    if [ -z "$(names)" ]; then
        echo 'Nothing runs.'
        return 1
    fi
    for name in $(names); do
        if pid=$(pid_of "$name"); then
            echo "$name runs: process $pid"
        else
            echo "$name has ended; see $dir/$name.log"
            all=1
        fi
    done
    [ "$all" = 1 ] || echo "Use it with Cluster.connect(\"$(running_url)\", keys=\"$DISTIO_KEYS\")"
    return "$all"
}

# That of the coordinator that runs, whatever DISTIO_PORT is by now.
running_url() {
    sed -n 's/.* ready at \([^;]*\);.*/\1/p' "$dir/coordinator.log"
}

stop_all() {
    local name pid
    for name in $(names); do
        if pid=$(pid_of "$name"); then
            kill "$pid" 2>/dev/null || true
            for _ in {1..50}; do
                pid_of "$name" >/dev/null || break
                sleep 0.1
            done
            if pid=$(pid_of "$name"); then
                echo "$name didn't end when told to, and was killed: process $pid"
                kill -KILL "$pid" 2>/dev/null || true
            fi
        fi
        rm -f "$dir/$name.pid"
    done
}

case ${1:-} in
start)
    [ $# -le 3 ] || fail 'start takes at most WORKERS and THREADS; see --help' 64
    start "${@:2}"
    ;;
status) status ;;
stop)
    if [ -z "$(names)" ]; then
        echo 'Nothing runs.'
    else
        stop_all
        echo 'Stopped.'
    fi
    ;;
-h | --help | help) usage ;;
*)
    usage >&2
    exit 64
    ;;
esac
