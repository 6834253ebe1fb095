#!/usr/bin/env bash
# Sets up .venv and runs the tests on every core; more arguments go to pytest.
# Usage: bash scripts/test.sh [-h] [PYTEST ARGUMENTS]     e.g. bash scripts/test.sh -k ghostnet; -m quick: minutes
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' -- "$0"; exit 0 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
setup_env "[deploy,dev]"
# MindSpore Lite needs a Python 3.7; its tests say so and are skipped where there is none.
timeout 900 bash scripts/setup_lite.sh < /dev/null || true
cores=$(nproc)
# One kernel thread a process: the processes share the cores, and results repeat. (nproc would then say 1.)
export OMP_NUM_THREADS=1
# In place of this shell, so that a signal reaches the tests.
exec .venv/bin/python -m pytest -q -n "$cores" --dist worksteal "$@"
