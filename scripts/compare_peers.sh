#!/usr/bin/env bash
# Times networks of this package in MindSpore, ONNX Runtime and MindSpore Lite beside those of the same name in MindCV
# (MindSpore) and timm (PyTorch eager, torch.compile, ONNX Runtime), in one run, and prints a table.
# Usage: scripts/compare_peers.sh [-h] [--output STEM] [--backend NAME...] [--rounds N] [MODEL...]
# MindCV and timm are installed into .bench, MindSpore Lite into .venv-lite. TORCH_PYTHON and GHOST_PYTHON name
# interpreters that have timm, torch, onnxscript and onnxruntime, or this package's dependencies, already.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,6s/^# //p' -- "$0"; exit 0 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
if [ -z "${GHOST_PYTHON:-}" ]; then
    setup_env "[deploy]"
    GHOST_PYTHON=.venv/bin/python
fi
if [ -z "${GHOST_MS_LITE_PYTHON:-}" ]; then
    bash scripts/setup_lite.sh
fi
setup_mindcv "$GHOST_PYTHON"
if [ -z "${TORCH_PYTHON:-}" ]; then
    TORCH_PYTHON=.bench/timm/bin/python
    setup_peer "$GHOST_PYTHON" timm torch==2.13.0 timm==1.0.31 onnx onnxscript onnxruntime "numpy<2"
fi
# In place of this shell, so that a signal reaches it.
export GLOG_v=4 PYTHONPATH=.
exec "$GHOST_PYTHON" scripts/compare_peers.py --torch-python "$TORCH_PYTHON" \
    --mindcv .bench/mindcv "$@"
