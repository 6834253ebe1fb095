#!/usr/bin/env bash
# Makes .venv beside the sources, with the package and its pinned dependencies, and the environments of what is compared
# with it. Sourced by the other scripts.
#
# PYTHON chooses the interpreter (3.9 to 3.12); what is installed already is kept.
set -euo pipefail

is_python() { # COMMAND: whether it is a Python that MindSpore has a package for
    "$1" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local candidate what="there is none on the PATH" candidates=(python3.11 python3.10 python3.12 python3.9 python3 python)
    if [ -n "${PYTHON:-}" ]; then
        # The script has gone into the project's folder; the path was given where it came from.
        case "$PYTHON" in
            /*) candidates=("$PYTHON") ;;
            */*) candidates=("${OLDPWD:-.}/$PYTHON") ;;
            *) candidates=("$PYTHON") ;;
        esac
    fi
    for candidate in "${candidates[@]}"; do
        if is_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    [ -z "${PYTHON:-}" ] || what="PYTHON=$PYTHON is none"
    echo "error: Python 3.9 to 3.12 is needed (MindSpore 2.8 has no package for others), and $what; install one" \
        "(pyenv install 3.11, or conda create -n ghost python=3.11) and set PYTHON=/path/to/python3.11" >&2
    return 1
}

make_venv() {
    local python
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    if ! "$python" -m venv .venv >&2; then
        rm -rf .venv
        echo "error: $python cannot make .venv, for the reason above; Debian and Ubuntu keep what it needs in the" \
            "package python3-venv (or python3.11-venv and the like)" >&2
        return 1
    fi
}

# setup_env EXTRAS: "" or "[dev]".
setup_env() {
    local wanted
    wanted="$1 $(cksum setup.py constraints.txt | cksum)"
    [ -x .venv/bin/python ] || make_venv
    if ! is_python .venv/bin/python; then
        echo "error: .venv holds $(.venv/bin/python --version 2>&1), and MindSpore 2.8 needs Python 3.9 to 3.12;" \
            "remove it (rm -r .venv) and start again" >&2
        return 1
    fi
    if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
        echo "installing ghost-ms and its dependencies (MindSpore: about 770 MB to download, once)"
        # An environment that was broken off, or that uv made, has no pip yet.
        .venv/bin/python -c 'import pip' 2>/dev/null || .venv/bin/python -m ensurepip > /dev/null
        if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$1"; then
            echo "error: pip could not install the packages, for the reason above; with no way to the package index," \
                "set PIP_INDEX_URL to a mirror, or PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels" >&2
            return 1
        fi
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
