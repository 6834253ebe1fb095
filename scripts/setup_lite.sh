#!/usr/bin/env bash
# Makes .venv-lite with MindSpore Lite 2.0.0, which `ghost-ms lite` then uses. The package is for Python 3.7 alone;
# PYTHON37 names one that is not on the PATH. Later versions come as archives from the vendor: see the README.
# Usage: bash scripts/setup_lite.sh [-h]
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,4s/^# //p' -- "$0"; exit 0 ;;
    ?*) echo "error: setup_lite.sh takes no arguments; -h shows the usage" >&2; exit 1 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON37:-python3.7}" python3.7 python3 "${HOME:-}"/.pyenv/versions/3.7.*/bin/python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 7))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "error: MindSpore Lite 2.0.0 is for Python 3.7 and none is here; install one (pyenv install 3.7) and set" \
        "PYTHON37=/path/to/python3.7" >&2
    return 1
}

if [ ! -x .venv-lite/bin/python ]; then
    python=$(find_python)
    echo "making .venv-lite with $("$python" --version)"
    "$python" -m venv .venv-lite
fi
if ! .venv-lite/bin/python -c 'import mindspore_lite' 2>/dev/null; then
    echo "installing MindSpore Lite 2.0.0 (about 170 MB to download, once)"
    .venv-lite/bin/python -m pip install --quiet --disable-pip-version-check mindspore-lite==2.0.0
fi
.venv-lite/bin/python -c 'import mindspore_lite; print("MindSpore Lite", mindspore_lite.__version__, "in .venv-lite")'
