#!/usr/bin/env bash
# Measures a checkpoint on one card.
# Usage: bash ascend/run_eval.sh [DEVICE_ID] [DATASET_PATH] [CONFIG] [CKPT] [OPTIONS] [OVERRIDES]
#   DEVICE_ID      the card (default 0)
#   DATASET_PATH   folder with val/ (data.root)
#   CONFIG         recipe (.yaml; default: that of the checkpoint's run)
#   CKPT           checkpoint (default runs/quickstart/checkpoints/best.ckpt)
# Each may be left out and is known by its ending; --dataset, --config and --ckpt name them too.
#   --devices N    the card, too
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print exactly what would run, and start nothing
#   OVERRIDES      keys of the recipe, such as --data.eval_batch_size 256
# DEVICE_TARGET=CPU runs the same on the CPU. PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

TAKES="$TAKES --devices"
parse_arguments "$@"
one_card
check_options
[ -z "$RANK_TABLE" ] || die "an evaluation needs no rank table: it runs on one card"
CKPT=${CKPT:-$ROOT/runs/quickstart/checkpoints/best.ckpt}
[ -z "$CONFIG" ] || need_config "$CONFIG"
need_dataset "$DATASET"
need_ckpt "$CKPT"
find_launch_python
need_mindspore
load_cann
choose_devices 1
[ "$WORKERS" = 1 ] || die "--devices names $WORKERS cards; an evaluation runs on one"
need_cards
choose_log_dir "$WANTED_LOG_DIR" "eval-$(name_of "$CKPT")"
ascend_environment
command=("$ROOT/eval.py" --ckpt "$CKPT")
[ -z "$CONFIG" ] || command+=(--config "$CONFIG")
command+=(--run.device "$DEVICE_TARGET")
[ -z "$DATASET" ] || command+=(--data.root "$DATASET")
see_cards
start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- \
    "$PYTHON" "${command[@]}" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
