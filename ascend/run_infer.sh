#!/usr/bin/env bash
# Classifies images on an Atlas inference card (300I, 300V, 310P) with MindSpore Lite.
# Usage: bash ascend/run_infer.sh MODEL IMAGE... [OPTIONS] [LITE OPTIONS]
#   MODEL          file that `ghost-ms lite` runs, converted for Ascend (ascend/README.md, "Inference")
#   IMAGE          images, or folders of images
#   --devices N    the card (default 0)
#   --log-dir D    folder for the log (default: a new one under runs/logs)
#   --dry-run      print exactly what would run, and start nothing
#   LITE OPTIONS   of `ghost-ms lite run`, such as --top 3
# DEVICE_TARGET=CPU runs the model on the CPU (a file converted for the CPU).

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

model="" images=()
# The first is the model, all others are images; a name that begins with a dash is no option.
take_positional() {
    local path=$1
    case "$path" in -*) path=./$path ;; esac
    if [ -z "$model" ]; then model=$path; else images+=("$path"); fi
}
TAKES="--devices --log-dir"
parse_arguments "$@"
check_options
[ -n "$model" ] || die "name the model file; -h shows the usage"
[ -f "$model" ] || die "there is no model '$model'; ascend/README.md, \"Inference\", says how to convert one"
[ "${#images[@]}" -gt 0 ] || die "name an image, or a folder of images"
for image in "${images[@]}"; do
    [ -e "$image" ] || die "there is no image '$image'"
done
find_launch_python
load_cann
one_card
choose_devices 1
[ "$WORKERS" = 1 ] || die "--devices names $WORKERS cards; this runs on one"
need_cards
choose_log_dir "$WANTED_LOG_DIR" "infer-$(name_of "$model")"
ascend_environment
see_cards
CKPT=$model
start 0 1 "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- "$PYTHON" -m ghost_ms.cli lite run "$model" \
    --target "$(printf '%s' "$DEVICE_TARGET" | tr '[:upper:]' '[:lower:]')" --image "${images[@]}" \
    "${OVERRIDES[@]+"${OVERRIDES[@]}"}"
