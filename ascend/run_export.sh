#!/usr/bin/env bash
# Writes a checkpoint's network as MINDIR for ascend/run_infer.sh; the file is run on the CPU and compared.
# Usage: bash ascend/run_export.sh [CONFIG] [CKPT] [OPTIONS] [EXPORT OPTIONS]
#   CONFIG         recipe that names the network, for a checkpoint of another tool (.yaml)
#   CKPT           checkpoint (default runs/quickstart/checkpoints/best.ckpt)
# Each may be left out and is known by its ending; --config and --ckpt name them too.
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print exactly what would run, and start nothing
#   EXPORT OPTIONS such as --output FILE --batch_size 8 (`ghost-ms export -h`)
# PYTHON=/path/to/python chooses the interpreter. No NPU is needed.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

DEVICE_TARGET=CPU
TAKES="--config --ckpt --log-dir"
parse_arguments "$@"
check_options
[ -z "$RANK_TABLE$DATASET$DEVICES${NUMBERS[*]:-}" ] ||
    die "'$RANK_TABLE$DATASET$DEVICES${NUMBERS[*]:-}' is neither a checkpoint nor a recipe; -h shows the usage"
CKPT=${CKPT:-$ROOT/runs/quickstart/checkpoints/best.ckpt}
[ -z "$CONFIG" ] || need_config "$CONFIG"
need_ckpt "$CKPT"
find_launch_python
need_mindspore
choose_log_dir "$WANTED_LOG_DIR" "export-$(name_of "$CKPT")"
ascend_environment
command=("$ROOT/export.py" --ckpt "$CKPT")
[ -z "$CONFIG" ] || command+=(--config "$CONFIG")
start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- \
    "$PYTHON" "${command[@]}" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
