#!/usr/bin/env bash
# Makes .venv beside the sources, with the package and its pinned dependencies, and the environments of what is compared
# with it. Sourced by the other scripts.
#
# PYTHON chooses the interpreter (3.9 to 3.12); what is installed already is kept.
set -euo pipefail

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.10 python3.12 python3.9 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "error: Python 3.9 to 3.12 is needed (MindSpore 2.8 has no package for others); set PYTHON=/path/to/python" >&2
    return 1
}

# setup_env EXTRAS: "" or "[dev]".
setup_env() {
    local wanted
    wanted="$1 $(cksum setup.py constraints.txt | cksum)"
    if [ ! -x .venv/bin/python ]; then
        local python
        python=$(find_python)
        echo "making .venv with $("$python" --version)"
        "$python" -m venv .venv
    fi
    if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
        echo "installing ghost-ms and its dependencies (MindSpore: about 770 MB to download, once)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$1"
        printf '%s' "$wanted" > .venv/installed
    fi
}

# setup_mindcv PYTHON: MindCV 0.3.0 in .bench/mindcv, out of the way of .venv. Without its dependencies: MindSpore and
# NumPy are those of PYTHON, which both sides of a comparison must share.
setup_mindcv() {
    if [ ! -d .bench/mindcv/mindcv ]; then
        "$1" -m pip install --quiet --disable-pip-version-check --no-deps --target .bench/mindcv mindcv==0.3.0 tqdm
    fi
}

# setup_peer PYTHON NAME PACKAGES...: an environment of its own, .bench/NAME, made by PYTHON.
setup_peer() {
    local python=$1 folder=.bench/$2
    shift 2
    if [ ! -e "$folder/complete" ]; then
        "$python" -m venv "$folder"
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
        touch "$folder/complete"
    fi
}
