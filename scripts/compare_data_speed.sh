#!/usr/bin/env bash
# Times the training pipeline beside torchvision's reference transforms in PyTorch's DataLoader, on the same JPEGs.
# Usage: scripts/compare_data_speed.sh [-h] [--images N] [--workers N] [--rounds N]
# torch and torchvision are installed into .bench/torchvision. TORCH_PYTHON and GHOST_PYTHON name interpreters that
# have them, or this package's dependencies, already.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,5s/^# //p' -- "$0"; exit 0 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
if [ -z "${GHOST_PYTHON:-}" ]; then
    setup_env ""
    GHOST_PYTHON=.venv/bin/python
fi
if [ -z "${TORCH_PYTHON:-}" ]; then
    TORCH_PYTHON=.bench/torchvision/bin/python
    setup_peer "$GHOST_PYTHON" torchvision torch torchvision
fi
# In place of this shell, so that a signal reaches it.
export GLOG_v=4 OMP_NUM_THREADS=1 PYTHONPATH=.
exec "$GHOST_PYTHON" scripts/compare_data_speed.py --torch "$TORCH_PYTHON" "$@"
