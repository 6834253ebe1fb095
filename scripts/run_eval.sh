#!/usr/bin/env bash
# Measures a checkpoint on the test images, with a log file of its own.
# Usage: bash scripts/run_eval.sh [CKPT] [DATASET_PATH] [CONFIG] [--log-dir D] [--dry-run] [OVERRIDES]
#        bash scripts/run_eval.sh DEVICE_ID [DATASET_PATH] [CKPT] ...    runs ascend/run_eval.sh
#   CKPT           checkpoint (default runs/quickstart/checkpoints/best.ckpt); its run's recipe is used
#   DATASET_PATH   folder with val/ (data.root)
#   CONFIG         another recipe (.yaml)
# Each may be left out and is known by its ending; --ckpt, --dataset and --config name them too.
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print what would run, and start nothing
#   OVERRIDES      keys of the recipe, such as --data.eval_batch_size 256
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launch.sh"

run_single eval "$ROOT/runs/quickstart/checkpoints/best.ckpt" run_eval.sh "$@"
