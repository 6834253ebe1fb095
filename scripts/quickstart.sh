#!/usr/bin/env bash
# Trains GhostNet on the images that come with the package, evaluates, exports, and classifies a picture.
# Usage: bash scripts/quickstart.sh [-h]
set -euo pipefail
case "${1:-}" in
    -h | --help)
        sed -n '2,3s/^# //p' -- "$0"
        echo "PYTHON=/path/to/python chooses the interpreter (3.9 to 3.12). Results go to runs/quickstart."
        exit 0 ;;
    ?*)
        echo "error: quickstart.sh takes no arguments; \`ghost-ms train\` takes a recipe and its keys" >&2
        exit 1 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
setup_env ""

# step COMMAND...: in a process group of its own, so that Ctrl-C reaches it once, through `stop`.
child=""
step() {
    set -m
    "$@" < /dev/null &
    child=$!
    set +m
    wait "$child"
    child=""
}

# What runs ends with this script; a training saves its state first. A second signal ends it at once.
stop() {
    if [ -n "$child" ]; then
        kill -TERM "$child" 2> /dev/null || true
        wait "$child" || true
    fi
    exit 130
}
trap stop INT TERM HUP

run=runs/quickstart
image=ghost_ms/data/embedded/ankle_boot.png

clock=$SECONDS
echo "[1/4] train: python train.py --config configs/quickstart.yaml"
step .venv/bin/python train.py --config configs/quickstart.yaml
trained=$((SECONDS - clock))

echo "[2/4] evaluate: python eval.py --ckpt $run/checkpoints/best.ckpt"
step .venv/bin/python eval.py --ckpt "$run/checkpoints/best.ckpt" > "$run/eval.txt"
cat "$run/eval.txt"

echo "[3/4] export: python export.py --format MINDIR --output $run/ghostnet.mindir"
step .venv/bin/python export.py --format MINDIR --output "$run/ghostnet.mindir"

echo "[4/4] classify: python infer.py --mindir $run/ghostnet.mindir --image $image"
step .venv/bin/python infer.py --mindir "$run/ghostnet.mindir" --image "$image"

accuracy=$(sed -n 's/.*top-1 \([0-9.]*\) %.*/\1/p' "$run/eval.txt")
cat <<END

Done: test accuracy $accuracy %; training took $trained s, everything $((SECONDS - clock)) s.
  $run/checkpoints/best.ckpt     the best weights
  $run/ghostnet.mindir, .json    the exported network and what a program must know of it
  $run/metrics.csv, curves.png   the course of the training
  $run/config.yaml               the whole recipe
Next: source .venv/bin/activate, then
  ghost-ms models                                           every network
  ghost-ms train --config configs/quickstart.yaml --train.epochs 10 --run.dir runs/longer
  ghost-ms infer --ckpt $run/checkpoints/best.ckpt --image YOUR.png
END
