#!/usr/bin/env bash
# Trains on one card.
# Usage: bash ascend/run_standalone_train.sh [DEVICE_ID] [DATASET_PATH] [CONFIG] [CKPT] [OPTIONS] [OVERRIDES]
#   DEVICE_ID      the card (default 0)
#   DATASET_PATH   folder with train/ and val/ (data.root)
#   CONFIG         recipe (.yaml; default configs/quickstart.yaml, or with a DATASET_PATH
#                  configs/ghostnet/ghostnet_100_imagenet_ascend.yaml)
#   CKPT           weights to start from (.ckpt, .safetensors)
# Each may be left out and is known by its ending; --dataset, --config and --ckpt name them too.
#   --devices N    the card, too
#   --bind HOW     numa: on the cores near the card (default); none
#   --profile      run under CANN's msprof; the trace goes to LOG_DIR/profile (ascend/README.md says what to read)
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print exactly what would run, and start nothing
#   OVERRIDES      keys of the recipe, such as --train.epochs 2
# DEVICE_TARGET=CPU runs the same on the CPU. PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

TAKES="$TAKES --devices --bind --profile"
parse_arguments "$@"
one_card
check_inputs
[ -z "$RANK_TABLE" ] || die "one card needs no rank table; ascend/run_distribute_train.sh takes one"
find_launch_python
need_mindspore
load_cann
choose_devices 1
[ "$WORKERS" = 1 ] || die "--devices names $WORKERS cards; ascend/run_distribute_train.sh trains on several"
need_cards
choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
ascend_environment
bind_cores
training_command
bind=() prefix=()
[ -z "$BIND_FILE" ] || bind=(--bind "$BIND_FILE")
if [ -n "$PROFILE" ]; then
    [ "$DEVICE_TARGET" = Ascend ] || die "--profile runs CANN's msprof and needs an NPU"
    [ -n "$DRY_RUN" ] || command -v msprof >/dev/null || die "there is no msprof on PATH; it comes with CANN's toolkit"
    prefix=(msprof --output="$LOG_DIR/profile" --ascendcl=on --runtime-api=on --task-time=on --aicpu=on)
fi
see_cards
start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log "${bind[@]+"${bind[@]}"}" -- \
    "${prefix[@]+"${prefix[@]}"}" "$PYTHON" "${COMMAND[@]}"
