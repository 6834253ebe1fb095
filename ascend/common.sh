#!/usr/bin/env bash
# What the launchers of this folder share: their options, CANN's environment, and the checks before a start. Sourced.
# shellcheck disable=SC2034  # most of the variables are for the launchers
set -euo pipefail

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/launch.sh"

DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
RANK_TABLE="" DATASET="" CONFIG="" CKPT="" DEVICES="" WORKERS="" START="" PORT="" WANTED_LOG_DIR="" TIMEOUT=600 BIND=""
MASTER_ADDR="" NODE_RANK="" NODES="" HOSTS="" SERVER_IP="" REMOTE_SHELL="ssh -tt -o BatchMode=yes -o ConnectTimeout=20"
PROFILE="" OVERRIDES=()

# value OPTION [VALUE]: the value that must follow an option.
value() {
    [ $# -ge 2 ] || die "$1 needs a value; -h shows the usage"
    printf '%s' "$2"
}

# Positional arguments are told apart by what they are: FILE.json is a rank table, FILE.yaml a recipe, FILE.ckpt or
# FILE.safetensors or FILE.mindir a network, anything else the folder of the data set; '-' skips one.
take_positional() {
    case "$1" in
        -) ;;
        *.json) RANK_TABLE=$1 ;;
        *.yaml | *.yml) CONFIG=$1 ;;
        *.ckpt | *.safetensors | *.mindir) CKPT=$1 ;;
        *)
            [ -z "$DATASET" ] || die "'$1' is neither a rank table (.json), a recipe (.yaml) nor a checkpoint (.ckpt)"
            DATASET=$1 ;;
    esac
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help) show_help; exit 0 ;;
            --dry-run) DRY_RUN=1 ;;
            --profile) PROFILE=1 ;;
            --rank-table) RANK_TABLE=$(value "$@"); shift ;;
            --dataset) DATASET=$(value "$@"); shift ;;
            --config) CONFIG=$(value "$@"); shift ;;
            --ckpt) CKPT=$(value "$@"); shift ;;
            --devices) DEVICES=$(value "$@"); shift ;;
            --workers) WORKERS=$(value "$@"); shift ;;
            --start) START=$(value "$@"); shift ;;
            --port) PORT=$(value "$@"); shift ;;
            --log-dir) WANTED_LOG_DIR=$(value "$@"); shift ;;
            --timeout) TIMEOUT=$(value "$@"); shift ;;
            --bind) BIND=$(value "$@"); shift ;;
            --master-addr) MASTER_ADDR=$(value "$@"); shift ;;
            --node-rank) NODE_RANK=$(value "$@"); shift ;;
            --nodes) NODES=$(value "$@"); shift ;;
            --hosts) HOSTS=$(value "$@"); shift ;;
            --server-ip) SERVER_IP=$(value "$@"); shift ;;
            --remote-shell) REMOTE_SHELL=$(value "$@"); shift ;;
            --*=*) OVERRIDES+=("$1") ;;
            --*) OVERRIDES+=("$1" "$(value "$@")"); shift ;;
            *) take_positional "$1" ;;
        esac
        shift
    done
    case "$DEVICE_TARGET" in
        Ascend | CPU) ;;
        *) die "DEVICE_TARGET is '$DEVICE_TARGET'; it is Ascend or CPU" ;;
    esac
    case "$BIND" in
        '' | numa | none) ;;
        *) die "--bind is '$BIND'; it is numa or none" ;;
    esac
    need_number "--timeout" "$TIMEOUT" 1
}

# Where CANN may lie: up to 8.3 in ascend-toolkit, from 8.5 on in cann; nnrt and nnae are its smaller packages.
find_cann() {
    local base file
    for base in "${ASCEND_HOME_PATH:+$ASCEND_HOME_PATH/..}" /usr/local/Ascend "$HOME/Ascend"; do
        [ -n "$base" ] || continue
        for file in "$base"/{cann,ascend-toolkit,nnae,nnrt}/set_env.sh; do
            if [ -f "$file" ]; then
                printf '%s\n' "$file"
                return
            fi
        done
    done
}

# Load CANN's environment unless the shell has it already.
load_cann() {
    local file
    [ "$DEVICE_TARGET" = Ascend ] && [ -z "${ASCEND_OPP_PATH:-}" ] || return 0
    file=$(find_cann)
    if [ -z "$file" ]; then
        [ -n "$DRY_RUN" ] || die "CANN is not found: install it, or set ASCEND_HOME_PATH; ascend/preflight.sh says more"
        return 0
    fi
    if [ -n "$DRY_RUN" ]; then
        echo "source $file"
        return 0
    fi
    # Vendor's scripts read variables that may be unset.
    set +u
    # shellcheck disable=SC1090  # found at run time
    . "$file"
    set -u
}

# Variables for HCCL and the NPU's logs. What the user has set already stays.
ascend_environment() {
    common_environment
    [ "$DEVICE_TARGET" = Ascend ] || return 0
    # Ranks compile for minutes and not all equally long; 120 s, the default, is too short for the first collective.
    set_variable HCCL_CONNECT_TIMEOUT 1200
    # Seconds that a card waits inside a collective; an evaluation or a slow disk on one rank must fit into it.
    set_variable HCCL_EXEC_TIMEOUT 1836
    # No list of allowed hosts: without this an unlisted server is refused. Old releases had another default.
    set_variable HCCL_WHITELIST_DISABLE 1
    # HCCL takes 32 ports from here on to meet (16 before CANN 8.2); preflight.sh looks whether they are free.
    set_variable HCCL_IF_BASE_PORT 60000
    # CANN logs errors alone (3); warnings of eight cards fill a disk.
    set_variable ASCEND_GLOBAL_LOG_LEVEL 3
    # CANN's logs go beside the ranks' own instead of ~/ascend/log, where runs mix.
    set_variable ASCEND_PROCESS_LOG_PATH "$LOG_DIR/plog"
    # A framework traceback says more than ten lines of C++ do.
    set_variable MS_EXCEPTION_DISPLAY_LEVEL 1
}

# choose_devices COUNT: sets DEVICES and WORKERS. Without options all cards are used (CPU: COUNT workers).
choose_devices() {
    if [ -n "$WORKERS" ]; then
        need_number "--workers" "$WORKERS" 1
        DEVICES=${DEVICES:-$(seq -s, 0 $((WORKERS - 1)))}
    elif [ -z "$DEVICES" ] && [ "$DEVICE_TARGET" = Ascend ]; then
        if ! DEVICES=$("$PYTHON" "$ROOT/ascend/npu.py" list 2>/dev/null); then
            # A dry run is for looking, on a laptop too.
            [ -n "$DRY_RUN" ] || "$PYTHON" "$ROOT/ascend/npu.py" list
            DEVICES=$(seq -s, 0 7)
        fi
    fi
    DEVICES=${DEVICES:-$(seq -s, 0 $(($1 - 1)))}
    "$PYTHON" -c 'import sys; sys.path.insert(0, sys.argv[1]); import npu; npu.parse_devices(sys.argv[2])' \
        "$ROOT/ascend" "$DEVICES" 2>/dev/null ||
        die "--devices is '$DEVICES'; it is numbers in rising order with commas and no blanks, such as 0,1,4"
    local count
    count=$(printf '%s\n' "$DEVICES" | tr ',' '\n' | wc -l)
    [ -z "$WORKERS" ] || [ "$WORKERS" = "$count" ] || die "--workers is $WORKERS, but --devices names $count cards"
    WORKERS=$count
}

# Cards must be there, healthy and unused.
need_cards() {
    [ "$DEVICE_TARGET" = Ascend ] && [ -z "$DRY_RUN" ] || return 0
    "$PYTHON" "$ROOT/ascend/npu.py" ready "$DEVICES"
}

need_ckpt() {
    [ -z "$CKPT" ] || [ -f "$CKPT" ] || die "there is no checkpoint '$CKPT'"
}

# bind_cores: writes the cores of each process and sets BIND_FILE; NPUs profit most, so CPU runs are left to the kernel.
bind_cores() {
    local cpu=()
    BIND_FILE=""
    [ "${BIND:-$([ "$DEVICE_TARGET" = CPU ] && echo none || echo numa)}" = numa ] || return 0
    BIND_FILE=$LOG_DIR/cores.json
    [ -z "$DRY_RUN" ] || return 0
    [ "$DEVICE_TARGET" = Ascend ] || cpu=(--cpu)
    "$PYTHON" "$ROOT/ascend/npu.py" bind "$DEVICES" "$BIND_FILE" "${cpu[@]+"${cpu[@]}"}"
}

# training_command: sets COMMAND, what every rank runs after the interpreter.
training_command() {
    COMMAND=("$ROOT/train.py" --config "$CONFIG" --run.device "$DEVICE_TARGET")
    [ -z "$DATASET" ] || COMMAND+=(--data.root "$DATASET")
    [ -z "$CKPT" ] || COMMAND+=(--model.pretrained "$CKPT")
    COMMAND+=("${OVERRIDES[@]+"${OVERRIDES[@]}"}")
}

need_mpirun() {
    [ -n "$DRY_RUN" ] || command -v mpirun >/dev/null ||
        die "there is no mpirun on PATH; install Open MPI 4.1, or leave out --start mpirun"
}

# Everything that can be known to be wrong before a process starts.
check_inputs() {
    need_config "$CONFIG"
    need_dataset "$DATASET"
    need_ckpt
    [ -z "$RANK_TABLE" ] || [ -f "$RANK_TABLE" ] ||
        die "there is no rank table '$RANK_TABLE'; \`python ascend/rank_table.py make\` writes one"
}
