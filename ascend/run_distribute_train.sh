#!/usr/bin/env bash
# Trains on several cards of one server.
# Usage: bash ascend/run_distribute_train.sh [RANK_TABLE_FILE] [DATASET_PATH] [CONFIG] [CKPT] [OPTIONS] [OVERRIDES]
#   RANK_TABLE_FILE   HCCL rank table (.json): this server's cards in it train
#   DATASET_PATH      folder with train/ and val/ (data.root)
#   CONFIG            recipe (.yaml; default configs/quickstart.yaml, or with a DATASET_PATH
#                     configs/ghostnet/ghostnet_100_imagenet_ascend.yaml)
#   CKPT              weights to start from (.ckpt, .safetensors)
# Each may be left out and is known by its ending; --rank-table, --dataset, --config and --ckpt name them too.
#   --devices 0,1,4   cards (default: all; CPU: two workers); 0,1,4 alone says the same
#   --workers N       the first N cards instead; N alone says the same
#   --start HOW       msrun (default), rank-table (default with a rank table), or mpirun
#   --port N          port of msrun's scheduler (default: the first free one from 8118)
#   --bind HOW        numa: each process on the cores near its card (default); none
#   --timeout S       seconds in which all processes must have met (default 600)
#   --server-ip IP    this server in the rank table (default: found by its routes)
#   --log-dir D       folder for one log a rank (default: a new one under runs/logs)
#   --dry-run         print exactly what would run, and start nothing
#   OVERRIDES         keys of the recipe, such as --train.epochs 2
# DEVICE_TARGET=CPU runs the same on the CPU. PYTHON=/path/to/python chooses the interpreter.
# SIGTERM, a closed terminal and Ctrl-C: the training saves its state and ends; twice, every process ends at once.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

TAKES="$TAKES --rank-table --devices --workers --start --port --bind --timeout --server-ip"
parse_arguments "$@"
count_processes ascend/run_distribute_train.sh
check_inputs
start_by_rank_table
find_launch_python
need_mindspore
load_cann
case "${START:=msrun}" in
    msrun | mpirun) choose_devices 2 ;;
    rank-table)
        [ "$DEVICE_TARGET" = Ascend ] || die "--start rank-table is HCCL's and needs NPUs; leave it out on the CPU"
        [ -n "$RANK_TABLE" ] ||
            die "--start rank-table needs a rank table; \`python ascend/rank_table.py make -o table.json\` writes one"
        [ -z "$DEVICES$WORKERS" ] || die "the rank table says which cards train; leave out --devices and --workers"
        size=$("$PYTHON" "$ROOT/ascend/rank_table.py" size "$RANK_TABLE")
        ranks=$("$PYTHON" "$ROOT/ascend/rank_table.py" local "$RANK_TABLE" ${SERVER_IP:+--server-ip "$SERVER_IP"})
        read -ra pairs <<< "$ranks"
        DEVICES=$(printf '%s\n' "${pairs[@]#*:}" | paste -sd,)
        choose_devices 1
        DEVICE_NOTE="$DEVICE_NOTE, of $size in the rank table $RANK_TABLE" ;;
    *) die "--start is '$START'; it is msrun, rank-table or mpirun" ;;
esac
need_cards
choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
ascend_environment
bind_cores
training_command
bind=()
[ -z "$BIND_FILE" ] || bind=(--bind "$BIND_FILE")
STARTER=$START
case "$START" in
    msrun)
        choose_port "$PORT"
        see_cards
        msrun_command "$WORKERS" "$WORKERS" 0 127.0.0.1 "$MASTER_PORT" "$TIMEOUT" "$BIND_FILE" "${COMMAND[@]}"
        start 0 "$WORKERS" "${MSRUN[@]}" ;;
    rank-table)
        set_variable RANK_TABLE_FILE "$(realpath "$RANK_TABLE")"
        start "${pairs[0]%%:*}" "$WORKERS" "$PYTHON" "$ROOT/scripts/start_ranks.py" "$LOG_DIR" "$size" "${pairs[@]}" \
            "${bind[@]+"${bind[@]}"}" -- "$PYTHON" "${COMMAND[@]}" ;;
    mpirun)
        need_mpirun
        see_cards
        TRUST_CODE=1
        # Cores are bound by worker.py; mpirun's own binding would put all threads of a rank on one.
        start 0 "$WORKERS" mpirun -n "$WORKERS" --allow-run-as-root -bind-to none \
            "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log "${bind[@]+"${bind[@]}"}" -- \
            "$PYTHON" "${COMMAND[@]}" ;;
esac
