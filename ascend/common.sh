#!/usr/bin/env bash
# What the launchers of this folder share: CANN's environment, cards, and the checks before a start. Sourced, not run.
# shellcheck disable=SC2034  # most of the variables are for the launchers
set -euo pipefail

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/launch.sh"

DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
TIMEOUT=600
# What follows '--' is never taken for an option of ssh.
REMOTE_SHELL="ssh -tt -o BatchMode=yes -o ConnectTimeout=20 --"
# The recipe where a data set is given and no recipe.
DEFAULT_RECIPE=ghostnet/ghostnet_100_imagenet_ascend.yaml
[ "$DEVICE_TARGET" = Ascend ] || DEFAULT_RECIPE=ghostnet/ghostnet_100_imagenet.yaml

# check_options: what holds for the arguments of every launcher here.
check_options() {
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

# one_card: a positional number is the card, as MindSpore's DEVICE_ID.
one_card() {
    [ "${#NUMBERS[@]}" -le 1 ] || die "'${NUMBERS[*]}' are several numbers, and one card has one; -h shows the usage"
    [ "${#NUMBERS[@]}" = 0 ] || set_once DEVICES "${NUMBERS[0]}" "card"
    DEVICES=${DEVICES:-0}
}

# Where CANN may lie: up to 8.3 in ascend-toolkit, from 8.5 on in cann; nnrt and nnae are its smaller packages.
find_cann() {
    local base file bases=({/usr/local/Ascend,"${HOME:-}/Ascend"}/{cann,ascend-toolkit,nnae,nnrt})
    [ -z "${ASCEND_HOME_PATH:-}" ] ||
        bases=("$ASCEND_HOME_PATH" "$ASCEND_HOME_PATH"/..{,/cann,/ascend-toolkit,/nnae,/nnrt} "${bases[@]}")
    for base in "${bases[@]}"; do
        file=$base/set_env.sh
        if [ -f "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
}

# Load CANN's environment unless the shell has it already.
load_cann() {
    local file
    [ "$DEVICE_TARGET" = Ascend ] && [ -z "${ASCEND_OPP_PATH:-}" ] || return 0
    file=$(find_cann)
    if [ -z "$file" ]; then
        [ -n "$DRY_RUN" ] || die "CANN is not found: install it, or set ASCEND_HOME_PATH; ascend/preflight.sh says more" \
            "(DEVICE_TARGET=CPU runs on the CPU)"
        return 0
    fi
    if [ -n "$DRY_RUN" ]; then
        show source "$file"
        return 0
    fi
    # Vendor's scripts read variables that may be unset, and go on where a command fails.
    set +euC
    # shellcheck disable=SC1090  # found at run time
    . "$file"
    set -euC
    [ -n "${ASCEND_OPP_PATH:-}" ] || die "'$file' did not set ASCEND_OPP_PATH: install CANN's operator package too"
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
    local count
    if [ -n "$WORKERS" ]; then
        need_number "--workers" "$WORKERS" 1 1024
        DEVICES=${DEVICES:-$(seq -s, 0 $((WORKERS - 1)))}
    elif [ -z "$DEVICES" ] && [ "$DEVICE_TARGET" = Ascend ]; then
        if ! DEVICES=$("$PYTHON" "$ROOT/ascend/npu.py" list 2>/dev/null); then
            # A dry run is for looking, on a laptop too.
            [ -n "$DRY_RUN" ] || "$PYTHON" "$ROOT/ascend/npu.py" list
            DEVICES=$(seq -s, 0 7)
        fi
    fi
    DEVICES=${DEVICES:-$(seq -s, 0 $(($1 - 1)))}
    count=$("$PYTHON" "$ROOT/ascend/npu.py" count "$DEVICES")
    [ -z "$WORKERS" ] || [ "$WORKERS" = "$count" ] || die "--workers is $WORKERS, but --devices names $count cards"
    WORKERS=$count
    [ "$DEVICE_TARGET" = CPU ] || DEVICE_NOTE="NPU $DEVICES"
}

# Cards must be there, healthy and unused.
need_cards() {
    [ "$DEVICE_TARGET" = Ascend ] && [ -z "$DRY_RUN" ] || return 0
    "$PYTHON" "$ROOT/ascend/npu.py" ready "$DEVICES"
}

# Programs see these cards alone, numbered from 0.
see_cards() {
    [ "$DEVICE_TARGET" = CPU ] || set_variable ASCEND_RT_VISIBLE_DEVICES "$DEVICES"
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
    DESCRIBED=1 RUN_DEVICE=$DEVICE_TARGET
}

# start_by_rank_table: a rank table that is named is used, unless --start says how else.
start_by_rank_table() {
    [ -n "$RANK_TABLE" ] || return 0
    START=${START:-rank-table}
    [ "$START" = rank-table ] || say "${DRY_RUN:+# }note: --start $START does not read the rank table '$RANK_TABLE'"
}

need_mpirun() {
    [ -n "$DRY_RUN" ] || command -v mpirun >/dev/null ||
        die "there is no mpirun on PATH; install Open MPI 4.1, or leave out --start mpirun"
}

# Everything that can be known to be wrong before a process starts.
check_inputs() {
    check_options
    default_recipe "$DEFAULT_RECIPE"
    need_config "$CONFIG"
    need_dataset "$DATASET"
    need_ckpt "$CKPT"
    [ -z "$RANK_TABLE" ] || [ -f "$RANK_TABLE" ] ||
        die "there is no rank table '$RANK_TABLE'; \`python ascend/rank_table.py make\` writes one"
}
