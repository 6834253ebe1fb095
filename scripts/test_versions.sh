#!/usr/bin/env bash
# Runs the quick tests with other versions of MindSpore, each in an environment of its own: .bench/mindspore-VERSION.
# Usage: bash scripts/test_versions.sh [-h] [VERSION...]     by default 2.7.2 and 2.10.0; 2.8.0 is what .venv has
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,3s/^# //p' -- "$0"; exit 0 ;;
    -*) echo "error: $1 is no version of MindSpore" >&2; exit 1 ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup_env.sh
. scripts/setup_env.sh
[ $# -gt 0 ] || set -- 2.7.2 2.10.0
cores=$(nproc) failed=()
export OMP_NUM_THREADS=1
for version in "$@"; do
    folder=.bench/mindspore-$version
    [ -x "$folder/bin/python" ] || "$(find_python)" -m venv "$folder"
    # What the constraints say of MindSpore is the question here.
    sed '/^mindspore==/d' constraints.txt > "$folder/constraints.txt"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c "$folder/constraints.txt" \
        "mindspore==$version" -e ".[deploy,dev]"
    echo "MindSpore $version, $("$folder/bin/python" --version)"
    "$folder/bin/python" -m pytest -q -n "$cores" --dist worksteal -m quick || failed+=("$version")
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "error: the quick tests fail with MindSpore ${failed[*]}" >&2
    exit 1
fi
