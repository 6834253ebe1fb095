#!/usr/bin/env bash
# Checks the sources without running them: ruff, mypy, shellcheck; a tool that is not there is named and passed over.
# Usage: bash scripts/check.sh [-h]     STRICT=1 fails where a tool is missing
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' -- "$0"; exit 0 ;;
    ?*) echo "error: check.sh takes no arguments; -h shows the usage" >&2; exit 1 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
PATH="$PWD/.venv/bin:$PATH"
missing=0
check() { # NAME COMMAND...
    if command -v "$2" > /dev/null; then
        echo "$1"
        "${@:2}"
    else
        echo "$1: $2 is not installed, passed over (pip install -e '.[dev]'; apt-get install shellcheck)" >&2
        missing=1
    fi
}
check "lint" ruff check --quiet .
check "types" mypy
mapfile -t shell < <(find ascend scripts .ci -name '*.sh' -o -path .ci/run | sort)
check "shell" shellcheck -x "${shell[@]}"
[ "${STRICT:-0}" = 0 ] || exit "$missing"
