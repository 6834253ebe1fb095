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

FOLDER="" JOBS=1 OUTPUT=runs/distillation STUDENT="" OVERRIDES=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) show_help; exit 0 ;;
        --jobs) need_number --jobs "${2:-}" 1 1024; JOBS=$2; shift 2 ;;
        --output) [ -n "${2:-}" ] || die "--output takes a folder"; OUTPUT=$2; shift 2 ;;
        --student) STUDENT=${2:-}; shift 2 ;; # by this script itself: KIND_seedN
        --*) [ $# -gt 1 ] || die "$1 takes a value"; OVERRIDES+=("$1" "$2"); shift 2 ;;
        *) set_once FOLDER "$1" "folder of Fashion-MNIST"; shift ;;
    esac
done
case "$FOLDER" in -*) FOLDER=./$FOLDER ;; esac
[ -n "$FOLDER" ] || die "name the folder of Fashion-MNIST; -h shows the usage"
[ -d "$FOLDER" ] || die "there is no folder '$FOLDER'"
find_launch_python
need_mindspore

# train NAME OPTIONS...: one training, logged beside its run.
train() {
    local name=$1
    shift
    echo "$name"
    "$PYTHON" "$ROOT/train.py" --data.root "$FOLDER" --train.resume auto --run.dir "$OUTPUT/$name" "$@" \
        >| "$OUTPUT/$name.log" 2>&1 || die "$name failed; see $OUTPUT/$name.log"
}

recipe=$ROOT/configs/ghostnetv3/ghostnetv3_fashion_mnist
case "$STUDENT" in
    plain_*)
        train "$STUDENT" --config "$recipe.yaml" --run.seed "${STUDENT##*_seed}" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
        exit ;;
    distilled_*)
        train "$STUDENT" --config "${recipe}_distilled.yaml" --run.seed "${STUDENT##*_seed}" \
            --distill.teacher "$OUTPUT/teacher/checkpoints/best.ckpt" "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
        exit ;;
esac

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
students() {
    printf '%s\n' {plain,distilled}_seed{1,2,3} | PYTHON=$PYTHON xargs -P "$JOBS" -n 1 \
        "$BASH" "${BASH_SOURCE[0]}" "$FOLDER" --output "$OUTPUT" "${OVERRIDES[@]+"${OVERRIDES[@]}"}" --student
}
RUNNING=""
trap 'kill -TERM -- "-$RUNNING" 2> /dev/null || true; wait "$RUNNING" || true; exit 130' INT TERM HUP
apart train teacher --config "$ROOT/configs/ghostnet/ghostnet_fashion_mnist.yaml" --train.epochs 3
apart students || die "the comparison is not whole; the same command goes on where it stopped"
"$PYTHON" -m ghost_ms.cli runs "$OUTPUT/teacher" "$OUTPUT"/{plain,distilled}_seed{1,2,3} -o "$OUTPUT/curves.png"
