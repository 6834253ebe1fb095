#!/usr/bin/env bash
# What the launchers under scripts/ and ascend/ share: their arguments, checks, ports, logs, and starting the processes of
# a job. Sourced, not run.
set -euo pipefail
# No redirection goes into a file that is there already, or through a link to one.
set -o noclobber
# A stream that the caller has closed: no other file may get its number.
{ : <&0; } 2>/dev/null || exec </dev/null
{ : >&1; } 2>/dev/null || exec >/dev/null
{ : >&2; } || exec 2>/dev/null

# A CDPATH of the user would lead cd elsewhere.
ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
DRY_RUN=${DRY_RUN:-}

# shellcheck source=scripts/words.sh
. "$ROOT/scripts/words.sh"
# shellcheck source=scripts/watch.sh
. "$ROOT/scripts/watch.sh"

# The variables that the launchers' own options set. TAKES names those that a launcher has; any other option belongs to the
# program that is started, such as a key of the recipe.
declare -A OWN=([--config]=CONFIG [--dataset]=DATASET [--ckpt]=CKPT [--workers]=WORKERS [--devices]=DEVICES [--port]=PORT
    [--rank-table]=RANK_TABLE [--log-dir]=WANTED_LOG_DIR [--timeout]=TIMEOUT [--start]=START [--bind]=BIND
    [--profile]=PROFILE [--master-addr]=MASTER_ADDR [--node-rank]=NODE_RANK [--nodes]=NODES [--hosts]=HOSTS
    [--server-ip]=SERVER_IP [--remote-shell]=REMOTE_SHELL)
TAKES="--config --dataset --ckpt --log-dir"
# shellcheck disable=SC2034  # the launchers read them
CONFIG="" DATASET="" CKPT="" WORKERS="" DEVICES="" PORT="" RANK_TABLE="" WANTED_LOG_DIR="" TIMEOUT=300 START="" BIND="" \
    PROFILE="" MASTER_ADDR="" NODE_RANK="" NODES="" HOSTS="" SERVER_IP=""
# Positional whole numbers, the options of the program that is started, and the first one that is another launcher's.
NUMBERS=() OVERRIDES=() FOREIGN=""
# What is said before a start: the cards, where the recipe comes from, the starter, and the device of a training whose
# recipe is described.
DEVICE_NOTE="" RECIPE_NOTE="" STARTER="" DESCRIBED="" RUN_DEVICE=""

# Positional arguments are told apart by what they are: FILE.json is a rank table, FILE.yaml a recipe, another file (or
# FILE.ckpt and the like) weights, 8 a number, 0,1,4 cards, anything else the folder of the data set; '-' skips one.
take_positional() {
    case "$1" in
        -) ;;
        '') die "an argument is empty; '-' skips one" ;;
        *.json) set_once RANK_TABLE "$1" "rank table" ;;
        *.yaml | *.yml) set_once CONFIG "$1" "recipe" ;;
        *.ckpt | *.safetensors | *.mindir) set_once CKPT "$1" "checkpoint" ;;
        *[!0123456789,]*)
            if [ -f "$1" ]; then
                if grep -q '"server_list"' -- "$1"; then set_once RANK_TABLE "$1" "rank table"
                else set_once CKPT "$1" "checkpoint"; fi
            elif [ -d "$1" ] || [ "${1#-}" = "$1" ]; then set_once DATASET "$1" "folder of a data set"
            else die "'$1' is neither an option nor a folder; -h shows the usage"; fi ;;
        *,*) set_once DEVICES "$1" "list of cards" ;;
        *) NUMBERS+=("$1") ;;
    esac
}

# set_once VARIABLE VALUE WHAT
set_once() {
    [ -z "${!1}" ] || die "'$2' is one argument too many: the $3 is '${!1}' already; -h shows the usage"
    printf -v "$1" '%s' "$2"
}

parse_arguments() {
    local word name value variable
    while [ $# -gt 0 ]; do
        word=$1 name=${1%%=*}
        shift
        case "$word" in
            -h | --help) show_help; exit 0 ;;
            --dry-run) DRY_RUN=1; continue ;;
            --)
                for word in "$@"; do take_positional "$word"; done
                break ;;
            --*) ;;
            *) take_positional "$word"; continue ;;
        esac
        value=${word#*=}
        variable=${OWN[$name]:-}
        case "$variable: $TAKES " in
            :*) ;;
            *" $name "*) ;;
            *) FOREIGN=${FOREIGN:-$name} ;;
        esac
        if [ "$word" = "--profile" ]; then value=1
        elif [ "$word" = "$name" ]; then
            [ $# -gt 0 ] || die "$name needs a value; -h shows the usage"
            value=$1
            shift
        fi
        if [ -n "$variable" ]; then printf -v "$variable" '%s' "$value"
        elif [ "$word" = "$name" ]; then OVERRIDES+=("$name" "$value")
        else OVERRIDES+=("$word"); fi
    done
    [ -n "${MAY_HAND_OVER:-}" ] || own_options
    # A path that begins with a dash would be an option of the next program.
    for variable in CONFIG DATASET CKPT RANK_TABLE WANTED_LOG_DIR HOSTS; do
        case "${!variable:-}" in -*) printf -v "$variable" './%s' "${!variable}" ;; esac
    done
}

# own_options: dies where an option is another launcher's; one that hands over asks after it has not.
own_options() {
    [ -z "$FOREIGN" ] || die "$FOREIGN is no option of ${0##*/}; -h shows the usage"
}

# The comment at the head of the script that sources this file is its help.
show_help() {
    sed -n '2,/^$/{/^#/s/^# \{0,1\}//p}' -- "$0"
}

# hand_over LAUNCHER WHY ARGUMENTS...: what these arguments ask for is the work of a launcher of ascend/.
hand_over() {
    local launcher=$1 why=$2
    shift 2
    say "${DRY_RUN:+# }$why, so this runs: $(show bash "ascend/$launcher" "$@")"
    exec bash "$ROOT/ascend/$launcher" "$@"
}

# count_processes LAUNCHER: the positional number is WORKERS.
count_processes() {
    if [ "${#NUMBERS[@]}" -gt 1 ]; then
        die "'${NUMBERS[*]}' are several numbers, and the number of processes is one. Did you mean" \
            "$(show bash "$1" ${CONFIG:+"$CONFIG"} "${NUMBERS[0]}" ${DATASET:+"$DATASET"})" \
            "(several servers: ascend/run_cluster_train.sh)?"
    fi
    [ "${#NUMBERS[@]}" = 0 ] || set_once WORKERS "${NUMBERS[0]}" "number of processes"
}

# default_recipe FOR_A_DATASET: CONFIG where none is named; the images of the quickstart's come with the package.
default_recipe() {
    [ -z "$CONFIG" ] || return 0
    CONFIG=$ROOT/configs/${DATASET:+$1}
    [ -n "$DATASET" ] || CONFIG=$ROOT/configs/quickstart.yaml
    RECIPE_NOTE=" (none was named)"
}

# Every launcher needs the package and a `python` on PATH, which msrun starts.
find_launch_python() {
    local candidate found candidates=("$ROOT/.venv/bin/python" python python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if found=$(command -v -- "$candidate" 2>/dev/null) && "$found" -c 'import sys' 2>/dev/null; then
            case "$found" in
                /*) PYTHON=$found ;;
                *) PYTHON=$PWD/$found ;;
            esac
            PATH="$(dirname -- "$PYTHON"):$PATH"
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

need_config() {
    [ -f "$1" ] || die "there is no recipe '$1'; the shipped ones are under configs/"
}

# The folder of the data set must be there before a job starts.
need_dataset() {
    [ -z "$1" ] || [ -d "$1" ] || die "there is no dataset folder '$1'; give the folder that holds train/ and val/"
}

need_ckpt() {
    [ -z "$1" ] || [ -f "$1" ] || die "there is no checkpoint '$1'; train one first, or name another"
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

# tell LABEL VALUE: a line of what is about to start, where there is anything to say.
tell() {
    [ -z "$2" ] || say "${DRY_RUN:+# }$(printf '  %-8s' "$1") $2"
}

# announce FIRST COUNT: what is about to start; a dry run prints it as comments of a script.
announce() {
    local name value
    if [ "$2" = 1 ] && [ -z "$STARTER" ]; then say "${DRY_RUN:+# }starting one process on this host"
    else say "${DRY_RUN:+# }starting $2 processes on this host, ranks $1 to $(($1 + $2 - 1)), by $STARTER"; fi
    tell cards "$DEVICE_NOTE"
    tell python "$PYTHON"
    tell recipe "${CONFIG:+$CONFIG$RECIPE_NOTE}"
    tell weights "$CKPT"
    [ -z "$DESCRIBED" ] || while read -r name value; do
        tell "$name" "$value"
    done < <("$PYTHON" "$ROOT/scripts/describe.py" "$CONFIG" ${DATASET:+--data.root "$DATASET"} \
        ${RUN_DEVICE:+--run.device "$RUN_DEVICE"} "${OVERRIDES[@]+"${OVERRIDES[@]}"}")
    tell logs "$LOG_DIR"
    tell port "${MASTER_PORT:-}"
}

# start FIRST COUNT COMMAND...: say what is started, run the command that starts ranks FIRST .. FIRST+COUNT-1 on this host,
# and wait. With DRY_RUN it prints what would run instead: the variables that were set on the way, and the command.
start() {
    local first=$1 count=$2
    shift 2
    announce "$first" "$count"
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
    show "$@" > "$LOG_DIR/command.txt"
    # A process group of its own: Ctrl-C must reach msrun once, through this script.
    env GHOST_MS_JOB="$GHOST_MS_JOB" GHOST_MS_LAUNCHER="$$ $(begun "$$")" setsid "$@" > "$LOG_DIR/launcher.log" 2>&1 &
    JOB_PID=$!
    watch_job "$first" "$count"
}

# run_single COMMAND DEFAULT_CKPT ASCEND_LAUNCHER ARGUMENTS...: one process without msrun, with the recipe of a training or
# the checkpoint of anything else. A number is MindSpore's DEVICE_ID, which an ASCEND_LAUNCHER takes.
run_single() {
    local command=$1 default=$2 launcher=$3 arguments=()
    shift 3
    [ -z "$launcher" ] || MAY_HAND_OVER=1
    parse_arguments "$@"
    if [ -n "$RANK_TABLE" ]; then die "one process needs no rank table; ascend/run_distribute_train.sh takes one"; fi
    if [ -n "$launcher" ] && [ -n "${NUMBERS[*]:-}$DEVICES" ]; then
        hand_over "$launcher" "${NUMBERS[*]:-$DEVICES} is a number of an NPU card" "$@"
    fi
    own_options
    [ -z "${NUMBERS[*]:-}$DEVICES" ] || die "'${NUMBERS[*]:-$DEVICES}' is one argument too many; -h shows the usage"
    [ "$command" != export ] || [ -z "$DATASET" ] || die "there is no checkpoint '$DATASET'; -h shows the usage"
    if [ "$command" = train ]; then
        default_recipe ghostnet/ghostnet_100_imagenet.yaml
        arguments=(--config "$CONFIG")
        DESCRIBED=1
    else
        CKPT=${CKPT:-$default}
        arguments=(--ckpt "$CKPT" ${CONFIG:+--config "$CONFIG"})
    fi
    [ -z "$CONFIG" ] || need_config "$CONFIG"
    need_ckpt "$CKPT"
    need_dataset "$DATASET"
    [ -z "$DATASET" ] || arguments+=(--data.root "$DATASET")
    [ "$command" != train ] || [ -z "$CKPT" ] || arguments+=(--model.pretrained "$CKPT")
    find_launch_python
    need_mindspore
    choose_log_dir "$WANTED_LOG_DIR" "$command-$(name_of "${arguments[1]}")"
    common_environment
    start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- \
        "$PYTHON" "$ROOT/$command.py" "${arguments[@]}" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
}
