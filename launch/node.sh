#!/usr/bin/env bash
# Runs a verb as this machine's part of a job under a scheduler:  launch/node.sh train --config=... --workdir=...
# SIGTERM is passed on, so that the run saves and ends. The exit code is the run's: docs/pods.md.
set -uo pipefail
export PYTHONUNBUFFERED=1

python -m score_jax "$@" &
run=$!
trap 'kill -s TERM "$run" 2>/dev/null' TERM

# A signal interrupts the wait; the run may still have to save.
while true; do
  wait "$run"
  code=$?
  kill -0 "$run" 2>/dev/null || break
done
exit "$code"
