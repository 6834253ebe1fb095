#!/usr/bin/env bash
# What the launchers say and ask before a job: messages, numbers, quoting, ports and the folder of the logs. Sourced by
# launch.sh, not run.
set -euo pipefail

# printable WORDS...: in one line, without what a terminal would obey or show in another order.
printable() {
    local LC_ALL=C text=$*
    text=${text//[$'\x01'-$'\x1f'$'\x7f']/?}
    text=${text//$'\xc2'[$'\x80'-$'\x9f']/?}
    printf '%s' "${text//$'\xe2'[$'\x80'$'\x81'][$'\x8b'-$'\x8f'$'\xa6'-$'\xae']/?}"
}

# Whoever reads our words may be gone (`| head`, a closed terminal). A subshell dies of that, and the launcher goes on.
say() {
    (printf '%s\n' "$(printable "$@")") 2>/dev/null || true
}

complain() {
    say "$@" >&2
}

die() {
    complain "error: $*"
    exit 1
}

# need_number NAME VALUE LEAST [MOST]
need_number() {
    case "$2" in
        '' | *[!0123456789]* | 0?* | ??????????*) die "$1 is '$2'; it is a whole number" ;;
    esac
    [ "$2" -ge "$3" ] || die "$1 is $2; it is $3 or more"
    [ "$2" -le "${4:-999999999}" ] || die "$1 is $2; it is $4 at most"
}

# show COMMAND...: the command, quoted so that it can be pasted into a shell.
show() {
    local text
    printf -v text '%q ' "$@"
    printf '%s\n' "${text% }"
}

# quote WORDS...: one line that every POSIX shell reads as these words; the one of a remote host need not be bash.
quote() {
    local word text="" escaped="'\\''"
    # shellcheck disable=SC2089,SC2090  # the quotes are for the other shell
    for word in "$@"; do
        case "$word" in
            '' | *[!ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/.,:=@%+-]*)
                word="'${word//\'/"$escaped"}'" ;;
        esac
        text+=" $word"
    done
    printf '%s' "${text# }"
}

# name_of PATH: its last part without the ending.
name_of() {
    local name
    name=$(basename -- "$1")
    printf '%s' "${name%.*}"
}

# begun PID: when a process began, in ticks; nothing where /proc does not show it. Its name may hold blanks and brackets.
begun() {
    local text
    read -r text 2>/dev/null < "/proc/$1/stat" || return 0
    # shellcheck disable=SC2086,SC2090  # one word a field
    set -- ${text##*) }
    printf '%s' "${20:-}"
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

# find_lock_folder: sets LOCKS to a folder that is this user's alone, or to nothing with a note where there is none. In a
# folder for everybody somebody else may have planted a link under any name that can be foreseen.
find_lock_folder() {
    LOCKS=${TMPDIR:-/tmp}/ghost_ms.$(id -u)
    mkdir -m 700 -- "$LOCKS" 2>/dev/null || true
    if [ ! -d "$LOCKS" ] || [ -L "$LOCKS" ] || [ ! -O "$LOCKS" ] || [ "$(stat -c %a -- "$LOCKS")" != 700 ]; then
        complain "note: '$LOCKS' is not a folder of this user alone, so no port is reserved in it: two launchers that" \
            "start at the same moment may choose the same one"
        LOCKS=""
    fi
}

# reserve_port PORT: whether no other launcher of this user has chosen it. A scheduler takes many seconds before it opens
# its port; the lock lasts as long as any process of the job.
reserve_port() {
    local lock
    [ -n "$LOCKS" ] || return 0
    exec {lock}<> "$LOCKS/port_$1" || return 0
    flock -n "$lock" || {
        exec {lock}>&-
        return 1
    }
}

# choose_port WANTED: sets MASTER_PORT to WANTED, which must be free, or else to the first free one from 8118 on.
# shellcheck disable=SC2034  # the launchers read it
choose_port() {
    local port
    [ -z "$1" ] || need_number "the port" "$1" 1024 65535
    if [ -n "$DRY_RUN" ]; then
        MASTER_PORT=${1:-8118}
        return
    fi
    find_lock_folder
    if [ -n "$1" ]; then
        { port_is_free "$1" && reserve_port "$1"; } ||
            die "port $1 is in use here; choose another with --port, or end the job that holds it"
        MASTER_PORT=$1
        return
    fi
    for port in {8118..8217}; do
        if port_is_free "$port" && reserve_port "$port"; then
            MASTER_PORT=$port
            return
        fi
    done
    die "no port from 8118 to 8217 is free; name one with --port"
}

# choose_log_dir WANTED NAME: sets LOG_DIR, one new folder a run.
choose_log_dir() {
    local file
    LOG_DIR=${1:-$ROOT/runs/logs/$2-$(date +%Y%m%d-%H%M%S)-$$}
    [ -z "$DRY_RUN" ] || return 0
    mkdir -p -- "$LOG_DIR" 2>/dev/null || die "cannot make the log folder '$LOG_DIR'; choose another with --log-dir"
    # A link under such a name may have been planted.
    for file in "$LOG_DIR"/{rank_*.exit,worker_*.log,node_*.log,command.txt,launcher.log}; do
        if [ -e "$file" ] || [ -L "$file" ]; then
            die "the log folder '$LOG_DIR' holds another run; choose a new one with --log-dir"
        fi
    done
    LOG_DIR=$(CDPATH='' cd -- "$LOG_DIR" && pwd)
}
