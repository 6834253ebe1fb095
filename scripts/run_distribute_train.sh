#!/usr/bin/env bash
# Trains on several processes of this machine: data-parallel, gradients averaged, started by msrun.
# Usage: bash scripts/run_distribute_train.sh [CONFIG] [WORKERS] [DATASET_PATH] [CKPT] [OPTIONS] [OVERRIDES]
#        bash scripts/run_distribute_train.sh RANK_TABLE_FILE [DATASET_PATH] ...    runs ascend/run_distribute_train.sh
#   CONFIG        recipe (.yaml; default configs/quickstart.yaml, or with a DATASET_PATH
#                 configs/ghostnet/ghostnet_100_imagenet.yaml)
#   WORKERS       processes (default 2)
#   DATASET_PATH  folder with train/ and val/ (data.root)
#   CKPT          weights to start from (.ckpt, .safetensors)
# Each may be left out and is known by its ending; --config, --workers, --dataset and --ckpt name them too.
#   --port N      port of the scheduler (default: the first free one from 8118)
#   --log-dir D   folder for one log a rank (default: a new one under runs/logs)
#   --timeout S   seconds in which all processes must have met (default 300)
#   --dry-run     print what would run, and start nothing
#   OVERRIDES     keys of the recipe, such as --train.epochs 2
# A rank table and numbers of cards (0,1) are for NPUs: ascend/run_distribute_train.sh takes over, with its own options.
# data.batch_size counts for each process. PYTHON=/path/to/python chooses the interpreter.
# SIGTERM, a closed terminal and Ctrl-C: the training saves its state and ends; twice, every process ends at once.

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launch.sh"

TAKES="$TAKES --workers --port --timeout"
MAY_HAND_OVER=1
parse_arguments "$@"
[ -z "$RANK_TABLE" ] || hand_over run_distribute_train.sh "'$RANK_TABLE' is a rank table, for NPUs" "$@"
[ -z "$DEVICES" ] || hand_over run_distribute_train.sh "'$DEVICES' are cards of NPUs" "$@"
own_options
count_processes scripts/run_distribute_train.sh
WORKERS=${WORKERS:-2}
need_number "the number of workers" "$WORKERS" 1 1024
need_number "--timeout" "$TIMEOUT" 1
need_dataset "$DATASET"
default_recipe ghostnet/ghostnet_100_imagenet.yaml
need_config "$CONFIG"
need_ckpt "$CKPT"
find_launch_python
need_mindspore
choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
choose_port "$PORT"
common_environment
msrun_command "$WORKERS" "$WORKERS" 0 127.0.0.1 "$MASTER_PORT" "$TIMEOUT" "" "$ROOT/train.py" --config "$CONFIG" \
    ${DATASET:+--data.root "$DATASET"} ${CKPT:+--model.pretrained "$CKPT"} "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
STARTER=msrun DESCRIBED=1
if command -v npu-smi > /dev/null; then
    say "${DRY_RUN:+# }note: this host has NPUs; ascend/run_distribute_train.sh looks at them first, binds cores and sets HCCL up"
fi
start 0 "$WORKERS" "${MSRUN[@]}"
