#!/usr/bin/env bash
# Writes a checkpoint's network as MINDIR, runs the file and compares, with a log file of its own.
# Usage: bash scripts/run_export.sh [CKPT] [--log-dir D] [--dry-run] [OPTIONS]
#   CKPT          checkpoint (default runs/quickstart/checkpoints/best.ckpt)
#   --log-dir D   folder for the log (default: a new one under runs/logs)
#   --dry-run     print what would run
#   OPTIONS       of `ghost-ms export`, such as --output FILE --batch_size 8
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

run_single export "$ROOT/runs/quickstart/checkpoints/best.ckpt" "$@"
