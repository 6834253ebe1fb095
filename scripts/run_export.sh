#!/usr/bin/env bash
# Writes a checkpoint's network as MINDIR, runs the file and compares, with a log file of its own.
# Usage: bash scripts/run_export.sh [CKPT] [CONFIG] [--log-dir D] [--dry-run] [OPTIONS]
#   CKPT          checkpoint (default runs/quickstart/checkpoints/best.ckpt)
#   CONFIG        recipe that names the network, for a checkpoint of another tool (.yaml)
# Each may be left out and is known by its ending; --ckpt and --config name them too.
#   --log-dir D   folder for the log (default: a new one under runs/logs)
#   --dry-run     print what would run, and start nothing
#   OPTIONS       of `ghost-ms export`, such as --output FILE --batch_size 8
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launch.sh"

TAKES="--config --ckpt --log-dir"
run_single export "$ROOT/runs/quickstart/checkpoints/best.ckpt" "" "$@"
