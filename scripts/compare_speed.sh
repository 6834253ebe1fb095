#!/usr/bin/env bash
# Times GhostNet 1.0x beside MindCV's ghostnet_100 on the same MindSpore, in one run. Usage: scripts/compare_speed.sh [-h]
# MindCV 0.3.0 is installed into .bench/mindcv, out of the way of .venv.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' -- "$0"; exit 0 ;;
    ?*) echo "error: compare_speed.sh takes no arguments; -h shows the usage" >&2; exit 1 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
setup_env ""
setup_mindcv .venv/bin/python
# In place of this shell, so that a signal reaches it.
export GLOG_v=4 PYTHONPATH=.bench/mindcv
exec .venv/bin/python scripts/compare_speed.py
