#!/usr/bin/env bash
# Writes constraints/NAME.txt: the versions that a tested environment holds, without score_jax itself.
#   launch/freeze.sh py311 .venv-py311
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# != 2)); then
  echo "usage: launch/freeze.sh NAME VENV, for example: launch/freeze.sh py311 .venv-py311" >&2
  exit 2
fi
target=constraints/$1.txt

mkdir -p constraints
{
  echo "# Made by launch/freeze.sh with $("$2/bin/python" -V): the versions that the tests pass with."
  # Accelerator plugins follow jax's own version.
  "$2/bin/python" -m pip freeze --exclude score_jax --exclude-editable | grep -viE '^(nvidia-|jax-cuda|libtpu)'
} >"$target.new"
mv "$target.new" "$target"
echo "freeze: $(grep -c == "$target") versions in $target."
