#!/usr/bin/env bash
# Trains on several cards of one server.
# Usage: bash ascend/run_distribute_train.sh [RANK_TABLE_FILE] [DATASET_PATH] [CONFIG] [CKPT] [OPTIONS] [OVERRIDES]
#   RANK_TABLE_FILE   HCCL rank table (.json); only --start rank-table needs one
#   DATASET_PATH      folder with train/ and val/ (data.root)
#   CONFIG            recipe (.yaml; default configs/quickstart.yaml)
#   CKPT              weights to start from (.ckpt, .safetensors)
# Each may be left out and is known by its ending; --rank-table, --dataset, --config and --ckpt name them too.
#   --devices 0,1,4   cards (default: all; CPU: two workers)
#   --workers N       the first N cards instead
#   --start HOW       msrun (default), rank-table, or mpirun
#   --port N          port of msrun's scheduler (default: the first free one from 8118)
#   --bind HOW        numa: each process on the cores near its card (default); none
#   --timeout S       seconds in which all processes must have met (default 600)
#   --server-ip IP    this server in the rank table (default: found by its routes)
#   --log-dir D       folder for one log a rank (default: a new one under runs/logs)
#   --dry-run         print exactly what would run
#   OVERRIDES         keys of the recipe, such as --train.epochs 2
# DEVICE_TARGET=CPU runs the same on the CPU. PYTHON=/path/to/python chooses the interpreter.
# SIGTERM and Ctrl-C: the training saves its state and ends; twice, every process ends at once.

# shellcheck source=ascend/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

parse_arguments "$@"
CONFIG=${CONFIG:-$ROOT/configs/quickstart.yaml}
check_inputs
find_launch_python
need_mindspore
load_cann
case "${START:=msrun}" in
    msrun | mpirun) choose_devices 2 ;;
    rank-table)
        [ "$DEVICE_TARGET" = Ascend ] || die "--start rank-table is HCCL's and needs NPUs; leave it out on the CPU"
        [ -n "$RANK_TABLE" ] ||
            die "--start rank-table needs a rank table; \`python ascend/rank_table.py make -o table.json\` writes one"
        "$PYTHON" "$ROOT/ascend/rank_table.py" check "$RANK_TABLE" >/dev/null
        ranks=$("$PYTHON" "$ROOT/ascend/rank_table.py" local "$RANK_TABLE" ${SERVER_IP:+--server-ip "$SERVER_IP"})
        DEVICES=$(printf '%s\n' "$ranks" | tr ' ' '\n' | cut -d: -f2 | paste -sd,)
        choose_devices 1 ;;
    *) die "--start is '$START'; it is msrun, rank-table or mpirun" ;;
esac
need_cards
choose_log_dir "$WANTED_LOG_DIR" "$CONFIG"
ascend_environment
bind_cores
training_command
bind=()
[ -z "$BIND_FILE" ] || bind=(--bind "$BIND_FILE")
case "$START" in
    msrun)
        choose_port "$PORT"
        # Programs see these cards alone, numbered from 0.
        [ "$DEVICE_TARGET" = CPU ] || set_variable ASCEND_RT_VISIBLE_DEVICES "$DEVICES"
        msrun_command "$WORKERS" "$WORKERS" 0 127.0.0.1 "$MASTER_PORT" "$TIMEOUT" "$BIND_FILE" "${COMMAND[@]}"
        start 0 "$WORKERS" "${MSRUN[@]}" ;;
    rank-table)
        set_variable RANK_TABLE_FILE "$(realpath "$RANK_TABLE")"
        read -ra pairs <<< "$ranks"
        start "${pairs[0]%%:*}" "$WORKERS" "$PYTHON" "$ROOT/scripts/start_ranks.py" "$LOG_DIR" \
            "$(grep -o '"rank_id"' "$RANK_TABLE" | wc -l)" "${pairs[@]}" "${bind[@]+"${bind[@]}"}" -- \
            "$PYTHON" "${COMMAND[@]}" ;;
    mpirun)
        need_mpirun
        [ "$DEVICE_TARGET" = CPU ] || set_variable ASCEND_RT_VISIBLE_DEVICES "$DEVICES"
        TRUST_CODE=1
        # Cores are bound by worker.py; mpirun's own binding would put all threads of a rank on one.
        start 0 "$WORKERS" mpirun -n "$WORKERS" --allow-run-as-root -bind-to none \
            "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log "${bind[@]+"${bind[@]}"}" -- \
            "$PYTHON" "${COMMAND[@]}" ;;
esac
