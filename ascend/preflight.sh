#!/usr/bin/env bash
# Looks whether this server, or several, are ready to train: a table of what is OK and what to do about the rest.
# Usage: bash ascend/preflight.sh [DATASET_PATH] [OPTIONS]
#   DATASET_PATH    folder that must be readable here (train/ and val/)
#   --devices 0,1   cards that must be ready (default: all)
#   --port N        port of msrun's scheduler that must be free (default 8118)
#   --hosts FILE    look at every host in it too: a line ADDRESS or USER@ADDRESS each
#   --sysroot DIR   look for CANN, driver and hccn.conf under another root, such as a mounted image
# Exit code 0: ready (there may be warnings); 1: something must be done first.
# PYTHON=/path/to/python chooses the interpreter whose MindSpore is looked at.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

for word in "$@"; do
    case "$word" in -h | --help) show_help; exit 0 ;; esac
done
find_launch_python
exec "$PYTHON" "$ROOT/ascend/preflight.py" "$@"
