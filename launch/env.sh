#!/usr/bin/env bash
# Sourced by the other scripts:  source launch/env.sh EXTRA [CONSTRAINTS]
# Makes or reuses a virtual environment that holds score_jax[EXTRA], and activates it.
#   PYTHON  the interpreter to use; otherwise the first one found that is new enough
#   VENV    where the environment lies; .venv in the repository otherwise
# CONSTRAINTS is a file for pip; constraints/py311.txt or py313.txt by default, by the version of Python.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}

# Runs, is new enough, and can make an environment.
usable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    usable "$PYTHON" && echo "$PYTHON" && return
    echo "PYTHON=$PYTHON does not run, is older than 3.11, or lacks venv: name another." >&2
    return 1
  fi
  for candidate in python3.13 python3.12 python3.11 python3 "$HOME"/.pyenv/versions/*/bin/python3; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python >= 3.11 with venv found: install one, or set PYTHON=/path/to/python." >&2
  return 1
}

# Constraints that were tested with this Python.
constraints_of() {
  case $("$1" -c 'import sys; print(sys.version_info >= (3, 12))') in
    True) echo "$ROOT/constraints/py313.txt" ;;
    *) echo "$ROOT/constraints/py311.txt" ;;
  esac
}

# score_jax[EXTRA] in the environment, unless it is there as the present setup.py and constraints ask. The stamp is
# written last, so that an interrupted installation is done again.
install_extra() {
  local extra=$1 constraints=$2 extras=$1 stamp hash
  if nvidia-smi -L >/dev/null 2>&1; then
    extras=$extra,cuda
  fi
  stamp=$VENV/.score_jax-${extras//,/-}
  hash=$(cat "$ROOT/setup.py" "$constraints" | cksum)" $ROOT"
  if [[ $(cat "$stamp" 2>/dev/null || true) == "$hash" ]]; then
    echo "env: $VENV already holds score_jax[$extras]."
    return
  fi
  echo "env: installing score_jax[$extras] into $VENV (some minutes the first time) ..."
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" -e "${ROOT}[$extras]"
  echo "$hash" >"$stamp"
}

# The environment itself. Only what is an environment is ever cleared.
make_venv() {
  local python
  if [[ -e $VENV && ! -e $VENV/pyvenv.cfg && -n $(ls -A "$VENV") ]]; then
    echo "VENV=$VENV is there and is no virtual environment: name another folder." >&2
    return 1
  fi
  python=$(find_python) || return 1
  echo "env: making $VENV with $("$python" -V)."
  "$python" -m venv --clear "$VENV"
}

check_python() {
  local version='import sys; print(*sys.version_info[:2], sep=".")'
  if [[ -n ${PYTHON:-} && $("$PYTHON" -c "$version") != $("$VENV/bin/python" -c "$version") ]]; then
    echo "$VENV holds Python $("$VENV/bin/python" -c "$version"), not PYTHON=$PYTHON: remove it, or set VENV." >&2
    return 1
  fi
}

prepare_env() {
  local extra=$1 constraints=${2:-}
  usable "$VENV/bin/python" || make_venv || return 1
  check_python || return 1
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip --upgrade >/dev/null
  install_extra "$extra" "${constraints:-$(constraints_of "$VENV/bin/python")}"
  export PATH="$VENV/bin:$PATH" VIRTUAL_ENV="$VENV"
}

prepare_env "$@"
