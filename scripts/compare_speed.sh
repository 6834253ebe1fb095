#!/usr/bin/env bash
# Times GhostNet 1.0x beside MindCV's ghostnet_100 on the same MindSpore, in one run. Usage: scripts/compare_speed.sh [-h]
# MindCV 0.3.0 is installed into .bench/mindcv, out of the way of .venv.
set -euo pipefail
if [ "${1:-}" = "-h" ]; then
    sed -n '2,3s/^# //p' "$0"
    exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
setup_env ""
setup_mindcv .venv/bin/python
GLOG_v=4 PYTHONPATH=.bench/mindcv .venv/bin/python scripts/compare_speed.py
