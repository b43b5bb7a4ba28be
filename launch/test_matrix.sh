#!/usr/bin/env bash
# The tests under the oldest and the newest Python and jax that are supported, each in its own environment.
# PYTHON311 and PYTHON313 name the interpreters; they are looked for otherwise. Arguments go to launch/test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The first interpreter among python3.MINOR on the path and in pyenv that runs.
find_minor() {
  local minor candidate
  for minor in "$@"; do
    for candidate in "python3.$minor" "$HOME/.pyenv/versions/3.$minor".*/bin/python3; do
      if "$candidate" -c "import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" >/dev/null 2>&1; then
        echo "$candidate"
        return
      fi
    done
  done
}

summary=()
failed=0

# NAME PYTHON ARGS...: all tests in .venv-NAME under constraints/NAME.txt.
run_tests() {
  local name=$1 python=$2 started=$SECONDS verdict=passed
  shift 2
  if [[ -z $python ]]; then
    summary+=("$name: no interpreter found")
    failed=1
    return
  fi
  echo "== $name"
  PYTHON=$python VENV=$PWD/.venv-$name CONSTRAINTS=$PWD/constraints/$name.txt launch/test.sh "$@" || verdict=FAILED
  [[ $verdict == passed ]] || failed=1
  summary+=("$name: $verdict in $((SECONDS - started)) s with $(versions "$name")")
}

versions() {
  local python=.venv-$1/bin/python
  "$python" -c 'import platform, importlib.metadata as m
print("Python", platform.python_version() + ", jax", m.version("jax"))' 2>/dev/null || echo "no environment"
}

run_tests py311 "${PYTHON311:-$(find_minor 11)}" "$@"
run_tests py313 "${PYTHON313:-$(find_minor 13 12)}" "$@"

echo "== summary"
printf '%s\n' "${summary[@]}"
exit "$failed"
