#!/usr/bin/env bash
# What the launchers under scripts/ and ascend/ share: checks, ports, logs, and starting the processes of a job.
# Sourced, not run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DRY_RUN=${DRY_RUN:-}

# shellcheck source=scripts/watch.sh
. "$ROOT/scripts/watch.sh"

die() {
    echo "error: $*" >&2
    exit 1
}

# The comment at the head of the script that sources this file is its help.
show_help() {
    sed -n '2,/^$/{/^#/s/^# \{0,1\}//p}' "$0"
}

# Every launcher needs the package and a `python` on PATH, which msrun starts.
find_launch_python() {
    local candidate
    for candidate in ${PYTHON:-"$ROOT/.venv/bin/python" python python3}; do
        if candidate=$(command -v "$candidate" 2>/dev/null) && "$candidate" -c 'import sys' 2>/dev/null; then
            PYTHON=$candidate
            PATH="$(dirname "$PYTHON"):$PATH"
            export PATH PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
            return
        fi
    done
    die "there is no Python at '${PYTHON:-.venv/bin/python}'; run scripts/quickstart.sh once, or set PYTHON=/path"
}

need_mindspore() {
    [ -n "$DRY_RUN" ] || "$PYTHON" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("mindspore") is None)' ||
        die "MindSpore is not installed for $PYTHON; run scripts/quickstart.sh once, or set PYTHON=/path/to/python"
}

need_number() {
    case "$2" in
        '' | *[!0-9]*) die "$1 is '$2'; it is a whole number" ;;
    esac
    [ "$2" -ge "$3" ] || die "$1 is $2; it is $3 or more"
}

need_config() {
    [ -f "$1" ] || die "there is no recipe '$1'; the shipped ones are under configs/"
}

# The folder that a recipe or an override names as data.root must be there before a job starts.
need_dataset() {
    [ -z "$1" ] || [ -d "$1" ] || die "there is no dataset folder '$1'; give the folder that holds train/ and val/"
}

port_is_free() {
    "$PYTHON" - "$1" <<'END'
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("0.0.0.0", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
END
}

# reserve_port PORT: whether no other launcher of this user has chosen it. A scheduler takes many seconds before it opens
# its port; the lock lasts as long as any process of the job.
reserve_port() {
    local file lock
    file=${TMPDIR:-/tmp}/ghost_ms.$(id -u).port_$1
    # Where no file can be made, it is left to chance.
    { : > "$file"; } 2>/dev/null || return 0
    exec {lock}> "$file"
    flock -n "$lock" || {
        exec {lock}>&-
        return 1
    }
}

# choose_port WANTED: sets MASTER_PORT to WANTED, which must be free, or else to the first free one from 8118 on.
# shellcheck disable=SC2034  # the launchers read it
choose_port() {
    local port
    if [ -n "$1" ]; then
        need_number "the port" "$1" 1024
        [ "$1" -le 65535 ] || die "the port is $1; it is 65535 at most"
        [ -n "$DRY_RUN" ] || port_is_free "$1" ||
            die "port $1 is in use here; choose another with --port, or end the job that holds it"
        MASTER_PORT=$1
        return
    fi
    for port in $(seq 8118 8217); do
        if [ -n "$DRY_RUN" ] || { port_is_free "$port" && reserve_port "$port"; }; then
            MASTER_PORT=$port
            return
        fi
    done
    die "no port from 8118 to 8217 is free; name one with --port"
}

# choose_log_dir WANTED CONFIG: one new folder a run.
choose_log_dir() {
    local name
    name=$(basename "$2" .yaml)
    LOG_DIR=${1:-$ROOT/runs/logs/$name-$(date +%Y%m%d-%H%M%S)-$$}
    [ -n "$DRY_RUN" ] && return
    mkdir -p "$LOG_DIR" 2>/dev/null || die "cannot make the log folder '$LOG_DIR'; choose another with --log-dir"
    if compgen -G "$LOG_DIR/rank_*.exit" >/dev/null; then
        die "the log folder '$LOG_DIR' holds another run; choose a new one with --log-dir"
    fi
    LOG_DIR=$(cd "$LOG_DIR" && pwd)
}

# show COMMAND...: the command, quoted so that it can be pasted into a shell.
show() {
    printf '%q ' "$@" | sed 's/ $//'
    printf '\n'
}

# start FIRST COUNT COMMAND...: run the command that starts ranks FIRST .. FIRST+COUNT-1 on this host, and wait.
# With DRY_RUN it prints what would run instead: the variables that were set on the way, and the command.
start() {
    local first=$1 count=$2
    shift 2
    if [ -n "$DRY_RUN" ]; then
        print_environment
        show "$@"
        return
    fi
    # Not exported: what this script itself starts is no process of the job.
    export -n GHOST_MS_JOB
    GHOST_MS_JOB="$$.$RANDOM.$(date +%s)"
    trap 'on_signal INT' INT
    trap 'on_signal TERM' TERM
    trap 'on_signal HUP' HUP
    echo "logs: $LOG_DIR"
    show "$@" > "$LOG_DIR/command.txt"
    # A process group of its own: Ctrl-C must reach msrun once, through this script.
    env GHOST_MS_JOB="$GHOST_MS_JOB" setsid "$@" > "$LOG_DIR/launcher.log" 2>&1 &
    JOB_PID=$!
    watch_job "$first" "$count"
}

# Names of the variables that a launcher sets; a dry run prints them.
SET_VARIABLES=()

set_variable() {
    export "$1=${!1:-$2}"
    SET_VARIABLES+=("$1")
}

print_environment() {
    local name
    for name in "${SET_VARIABLES[@]+"${SET_VARIABLES[@]}"}"; do
        printf 'export %s=%q\n' "$name" "${!name}"
    done
}

# Variables of MindSpore that every start needs.
common_environment() {
    # Errors reach the user through Python; the warnings below that would fill a log a rank.
    set_variable GLOG_v 3
    # Seconds without a heartbeat after which a process counts as lost.
    set_variable MS_NODE_TIMEOUT 30
    # Seconds that a collective waits for a message of another rank (CPU).
    set_variable MS_RECEIVE_MSG_TIMEOUT 120
}

# msrun_command WORKERS LOCAL NODE_RANK ADDRESS PORT TIMEOUT BIND_FILE COMMAND...: fills the array MSRUN.
# shellcheck disable=SC2034  # the launchers read it
msrun_command() {
    local workers=$1 local_workers=$2 node=$3 address=$4 port=$5 timeout=$6 bind_file=$7 bind=()
    shift 7
    [ -z "$bind_file" ] || bind=(--bind "$bind_file")
    # --tail_worker_log names no rank that exists: this script shows the log of the first one itself.
    MSRUN=("$PYTHON" -m mindspore.parallel.cluster.run --worker_num="$workers" --local_worker_num="$local_workers"
        --master_addr="$address" --master_port="$port" --node_rank="$node" --cluster_time_out="$timeout"
        --log_dir="$LOG_DIR" --join=True --tail_worker_log="$workers"
        "$ROOT/scripts/worker.py" "$LOG_DIR" "${bind[@]+"${bind[@]}"}" -- "$PYTHON" "$@")
}

# run_single COMMAND DEFAULT ARGUMENTS...: one process without msrun. The first argument that is no option is the recipe
# of a training, otherwise the checkpoint; DEFAULT stands in for it.
run_single() {
    local command=$1 subject=$2 log_dir="" given="" options=() kind
    shift 2
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) show_help; exit 0 ;;
            --dry-run) DRY_RUN=1 ;;
            --log-dir) log_dir=${2:?"--log-dir needs a folder"}; shift ;;
            --*=*) options+=("$1") ;;
            --*) options+=("$1" "${2:?"$1 needs a value"}"); shift ;;
            *)
                [ -z "$given" ] || die "'$1' is one argument too many; -h shows the usage"
                subject=$1 given=1 ;;
        esac
        shift
    done
    if [ "$command" = train ]; then
        need_config "$subject"
        kind=--config
    else
        [ -f "$subject" ] || die "there is no checkpoint '$subject'; train one first, or name another"
        kind=--ckpt
    fi
    find_launch_python
    need_mindspore
    choose_log_dir "$log_dir" "$command-$(basename "${subject%.*}")"
    common_environment
    start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- \
        "$PYTHON" "$ROOT/$command.py" "$kind" "$subject" "${options[@]+"${options[@]}"}"
}
