#!/usr/bin/env bash
# Trains in one process, with a log file of its own.
# Usage: bash scripts/run_standalone_train.sh [CONFIG] [--log-dir D] [--dry-run] [OVERRIDES]
#   CONFIG        recipe (default configs/quickstart.yaml)
#   --log-dir D   folder for the log (default: a new one under runs/logs)
#   --dry-run     print what would run
#   OVERRIDES     keys of the recipe, such as --train.epochs 2
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

run_single train "$ROOT/configs/quickstart.yaml" "$@"
