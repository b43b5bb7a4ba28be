#!/usr/bin/env bash
# Every check that CI runs. Arguments go to pytest, and then the coverage threshold and the guard of speed are off:
#   launch/test.sh                            all checks
#   launch/test.sh --fast                     while one works: ruff, mypy, and the tests that are not marked slow
#   launch/test.sh tests/cli -k doctor        some tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
SECONDS=0
# shellcheck source=launch/env.sh
source launch/env.sh dev "${CONSTRAINTS:-}"

export JAX_PLATFORMS=cpu JAX_COMPILATION_CACHE_DIR="$PWD/.cache/jax"
trap 'echo "test: $SECONDS s in all."' EXIT

ruff check .
ruff format --check .
mypy
# Of two workers each takes one half of the files in their order, so that a file's fixtures and programs are made once.
workers=(-n 2 --dist worksteal)
if [[ ${1:-} == --fast ]]; then
  python -m pytest "${workers[@]}" -m "not slow" "${@:2}"
elif (($#)); then
  python -m pytest "$@"
else
  python -m pytest "${workers[@]}" --covered=85
  python benchmarks/guard.py
fi
