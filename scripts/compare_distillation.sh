#!/usr/bin/env bash
# Trains GhostNetV3 on a sixth of Fashion-MNIST with a teacher and without, three seeds each, and compares them.
# Usage: bash scripts/compare_distillation.sh FASHION_MNIST [--jobs N] [--output DIR] [OVERRIDES]
#   FASHION_MNIST  folder with the four IDX files, plain or .gz
#   --jobs N       trainings at the same time (default 1)
#   --output DIR   folder for the runs (default runs/distillation); what is in it already is not trained again
#   OVERRIDES      keys of both students' recipes, such as --train.epochs 2
# The teacher is GhostNet 0.5x, three epochs on all 60,000 images. PYTHON=/path/to/python chooses the interpreter.

# shellcheck source=scripts/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

FOLDER="" JOBS=1 OUTPUT=runs/distillation OVERRIDES=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) show_help; exit 0 ;;
        --jobs) need_number --jobs "${2:-}" 1; JOBS=$2; shift 2 ;;
        --output) OUTPUT=${2:?--output takes a folder}; shift 2 ;;
        --*) OVERRIDES+=("$1" "${2:?$1 takes a value}"); shift 2 ;;
        *) FOLDER=$1; shift ;;
    esac
done
[ -n "$FOLDER" ] || die "name the folder of Fashion-MNIST; -h shows the usage"
[ -d "$FOLDER" ] || die "there is no folder '$FOLDER'"
find_launch_python
need_mindspore

train() {
    "$PYTHON" "$ROOT/train.py" --data.root "$FOLDER" --train.resume auto "$@"
}

# student SEED KIND: one training, logged beside its run.
student() {
    local name="${2}_seed$1" config=ghostnetv3_fashion_mnist teacher=()
    if [ "$2" = distilled ]; then
        config=ghostnetv3_fashion_mnist_distilled
        teacher=(--distill.teacher "$OUTPUT/teacher/checkpoints/best.ckpt")
    fi
    echo "$name"
    train --config "$ROOT/configs/ghostnetv3/$config.yaml" --run.dir "$OUTPUT/$name" --run.seed "$1" "${teacher[@]}" \
        "${OVERRIDES[@]}" > "$OUTPUT/$name.log" 2>&1 || die "$name failed; see $OUTPUT/$name.log"
}

mkdir -p "$OUTPUT"
# Processes that each use every core get in each other's way.
cores=$(nproc)
export OMP_NUM_THREADS=$((cores / JOBS > 0 ? cores / JOBS : 1))
echo "teacher"
train --config "$ROOT/configs/ghostnet/ghostnet_fashion_mnist.yaml" --train.epochs 3 --run.dir "$OUTPUT/teacher" \
    > "$OUTPUT/teacher.log" 2>&1 || die "the teacher failed; see $OUTPUT/teacher.log"
for seed in 1 2 3; do
    for kind in plain distilled; do
        while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
            wait -n || exit 1
        done
        student "$seed" "$kind" &
    done
done
while [ -n "$(jobs -rp)" ]; do
    wait -n || exit 1
done
"$PYTHON" -m ghost_ms.cli runs "$OUTPUT/teacher" "$OUTPUT"/plain_seed? "$OUTPUT"/distilled_seed? -o "$OUTPUT/curves.png"
