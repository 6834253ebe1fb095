#!/usr/bin/env bash
# Makes .venv beside the sources, with the package and its pinned dependencies. Sourced by quickstart.sh and test.sh.
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
