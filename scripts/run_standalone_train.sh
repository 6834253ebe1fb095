#!/usr/bin/env bash
# Trains in one process, with a log file of its own.
# Usage: bash scripts/run_standalone_train.sh [CONFIG] [DATASET_PATH] [CKPT] [--log-dir D] [--dry-run] [OVERRIDES]
#        bash scripts/run_standalone_train.sh DEVICE_ID [DATASET_PATH] ...    runs ascend/run_standalone_train.sh
#   CONFIG        recipe (.yaml; default configs/quickstart.yaml, or with a DATASET_PATH
#                 configs/ghostnet/ghostnet_100_imagenet.yaml)
#   DATASET_PATH  folder with train/ and val/ (data.root)
#   CKPT          weights to start from (.ckpt, .safetensors)
# Each may be left out and is known by its ending; --config, --dataset and --ckpt name them too.
#   --log-dir D   folder for the log (default: a new one under runs/logs)
#   --dry-run     print what would run, and start nothing
#   OVERRIDES     keys of the recipe, such as --train.epochs 2
# PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launch.sh"

run_single train "" run_standalone_train.sh "$@"
