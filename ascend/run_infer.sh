#!/usr/bin/env bash
# Classifies images on an Atlas inference card (300I, 300V, 310P) with MindSpore Lite.
# Usage: bash ascend/run_infer.sh MODEL IMAGE... [OPTIONS] [LITE OPTIONS]
#   MODEL          file that `ghost-ms lite` runs, converted for Ascend (ascend/README.md, "Inference")
#   IMAGE          images, or folders of images
#   --devices N    the card (default 0)
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print exactly what would run
#   LITE OPTIONS   of `ghost-ms lite run`, such as --top 3
# DEVICE_TARGET=CPU runs the model on the CPU (a file converted for the CPU).

# shellcheck source=ascend/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model="" images=()
take_positional() {
    if [ -z "$model" ]; then model=$1; else images+=("$1"); fi
}
parse_arguments "$@"
[ -n "$model" ] || die "name the model file; -h shows the usage"
[ -f "$model" ] || die "there is no model '$model'; ascend/README.md, \"Inference\", says how to convert one"
[ "${#images[@]}" -gt 0 ] || die "name an image, or a folder of images"
for image in "${images[@]}"; do
    [ -e "$image" ] || die "there is no image '$image'"
done
find_launch_python
load_cann
DEVICES=${DEVICES:-0}
choose_devices 1
need_cards
choose_log_dir "$WANTED_LOG_DIR" "infer-$(basename "${model%.*}")"
ascend_environment
[ "$DEVICE_TARGET" = CPU ] || set_variable ASCEND_RT_VISIBLE_DEVICES "$DEVICES"
start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- "$PYTHON" -m ghost_ms.cli lite run "$model" \
    --target "$(printf '%s' "$DEVICE_TARGET" | tr '[:upper:]' '[:lower:]')" --image "${images[@]}" \
    "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
