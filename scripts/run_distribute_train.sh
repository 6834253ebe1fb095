#!/usr/bin/env bash
# Trains on several processes of this machine: data-parallel, gradients averaged, started by msrun.
# Usage: bash scripts/run_distribute_train.sh [CONFIG] [WORKERS] [OPTIONS] [OVERRIDES]
#   CONFIG        recipe (default configs/quickstart.yaml)
#   WORKERS       processes (default 2)
#   --port N      port of the scheduler (default: the first free one from 8118)
#   --log-dir D   folder for one log a rank (default: a new one under runs/logs)
#   --timeout S   seconds in which all processes must have met (default 300)
#   --dry-run     print what would run
#   OVERRIDES     keys of the recipe, such as --train.epochs 2
# data.batch_size counts for each process. PYTHON=/path/to/python chooses the interpreter.
# SIGTERM and Ctrl-C: the training saves its state and ends; twice, every process ends at once.

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

config="" workers="" port="" log_dir="" timeout=300 overrides=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) show_help; exit 0 ;;
        --dry-run) DRY_RUN=1 ;;
        --port) port=${2:?"--port needs a number"}; shift ;;
        --log-dir) log_dir=${2:?"--log-dir needs a folder"}; shift ;;
        --timeout) timeout=${2:?"--timeout needs seconds"}; shift ;;
        --*=*) overrides+=("$1") ;;
        --*) overrides+=("$1" "${2:?"$1 needs a value"}"); shift ;;
        *)
            if [ -z "$config" ]; then config=$1
            elif [ -z "$workers" ]; then workers=$1
            else die "'$1' is one argument too many; -h shows the usage"; fi ;;
    esac
    shift
done
config=${config:-$ROOT/configs/quickstart.yaml}
workers=${workers:-2}
need_number "the number of workers" "$workers" 1
need_number "--timeout" "$timeout" 1
need_config "$config"
find_launch_python
need_mindspore
choose_port "$port"
choose_log_dir "$log_dir" "$config"
common_environment
msrun_command "$workers" "$workers" 0 127.0.0.1 "$MASTER_PORT" "$timeout" "" \
    "$ROOT/train.py" --config "$config" "${overrides[@]+"${overrides[@]}"}"
start 0 "$workers" "${MSRUN[@]}"
