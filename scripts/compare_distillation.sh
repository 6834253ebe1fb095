#!/usr/bin/env bash
# Trains GhostNetV3 on a tenth of Fashion-MNIST with a teacher and without, three seeds each, and compares them.
# Usage: bash scripts/compare_distillation.sh FASHION_MNIST [--jobs N] [--output DIR] [OVERRIDES]
#   FASHION_MNIST  folder with the four IDX files, plain or .gz
#   --jobs N       trainings at the same time (default 1)
#   --output DIR   folder for the runs (default runs/distillation); what is in it already is not trained again
#   OVERRIDES      keys of both students' recipes, such as --train.epochs 2
# The teacher is GhostNet 0.5x, three epochs on all 60,000 images. PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launch.sh"

FOLDER="" JOBS=1 OUTPUT=runs/distillation OVERRIDES=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) show_help; exit 0 ;;
        --jobs) need_number --jobs "${2:-}" 1 1024; JOBS=$2; shift 2 ;;
        --output) [ -n "${2:-}" ] || die "--output takes a folder"; OUTPUT=$2; shift 2 ;;
        --*) [ $# -gt 1 ] || die "$1 takes a value"; OVERRIDES+=("$1" "$2"); shift 2 ;;
        *) set_once FOLDER "$1" "folder of Fashion-MNIST"; shift ;;
    esac
done
case "$FOLDER" in -*) FOLDER=./$FOLDER ;; esac
[ -n "$FOLDER" ] || die "name the folder of Fashion-MNIST; -h shows the usage"
[ -d "$FOLDER" ] || die "there is no folder '$FOLDER'"
find_launch_python
need_mindspore

case "$OUTPUT" in -*) OUTPUT=./$OUTPUT ;; esac
mkdir -p -- "$OUTPUT" || die "cannot make the folder '$OUTPUT'; choose another with --output"
# Processes that each use every core get in each other's way.
cores=$(nproc)
export OMP_NUM_THREADS=$((cores / JOBS > 0 ? cores / JOBS : 1))

# apart COMMAND...: in a process group of its own, which ends with this script; its trainings save their state first.
apart() {
    set -m
    "$@" < /dev/null &
    RUNNING=$!
    set +m
    wait "$RUNNING"
}
RUNNING=""
trap 'kill -TERM -- "-$RUNNING" 2> /dev/null || true; wait "$RUNNING" || true; exit 130' INT TERM HUP

# train NAME OPTIONS...: one training, logged beside its run; a signal to the group waits here until it has saved.
train() {
    local name=$1
    shift
    trap : INT TERM HUP
    echo "$name"
    "$PYTHON" "$ROOT/train.py" --data.root "$FOLDER" --train.resume auto --run.dir "$OUTPUT/$name" "$@" \
        >| "$OUTPUT/$name.log" 2>&1 || die "$name failed; see $OUTPUT/$name.log"
}

RECIPE=$ROOT/configs/ghostnetv3/ghostnetv3_fashion_mnist
student() {
    local kind=${1%_seed*} options=(--config "$RECIPE.yaml")
    [ "$kind" = plain ] ||
        options=(--config "${RECIPE}_distilled.yaml" --distill.teacher "$OUTPUT/teacher/checkpoints/best.ckpt")
    train "$1" "${options[@]}" --run.seed "${1##*_seed}" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
}

# At most JOBS at a time; one that fails does not end the others.
students() {
    local name pid pids=() ended="" failed=0
    trap 'ended=1' INT TERM HUP
    for name in {plain,distilled}_seed{1,2,3}; do
        while [ -z "$ended" ] && [ "$(jobs -pr | wc -l)" -ge "$JOBS" ]; do sleep 0.2 || true; done
        [ -z "$ended" ] || break
        student "$name" &
        pids+=($!)
    done
    for pid in "${pids[@]+"${pids[@]}"}"; do wait "$pid" || failed=1; done
    while [ -n "$(jobs -pr)" ]; do wait || true; done # a signal ends a wait early
    [ -z "$ended" ] && [ "$failed" = 0 ]
}

apart train teacher --config "$ROOT/configs/ghostnet/ghostnet_fashion_mnist.yaml" --train.epochs 3
apart students || die "the comparison is not whole; the same command goes on where it stopped"
"$PYTHON" -m ghost_ms.cli runs "$OUTPUT/teacher" "$OUTPUT"/{plain,distilled}_seed{1,2,3} -o "$OUTPUT/curves.png"
