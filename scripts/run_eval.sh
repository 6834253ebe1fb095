#!/usr/bin/env bash
# Measures a checkpoint on the test images, with a log file of its own.
# Usage: bash scripts/run_eval.sh [CKPT] [--config FILE] [--log-dir D] [--dry-run] [OVERRIDES]
#   CKPT           checkpoint (default runs/quickstart/checkpoints/best.ckpt); its run's recipe is used
#   --config FILE  another recipe
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print what would run
#   OVERRIDES      keys of the recipe, such as --data.root DIR
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

run_single eval "$ROOT/runs/quickstart/checkpoints/best.ckpt" "$@"
