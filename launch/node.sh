#!/usr/bin/env bash
# Runs a verb as this machine's part of a job under a scheduler:  launch/node.sh train --config=... --workdir=...
# SIGTERM is passed on, so that the run saves and ends; the exit code is then 143 and not 0, for whoever asks whether
# the work is done.
set -uo pipefail
export PYTHONUNBUFFERED=1

python -m score_jax "$@" &
run=$! told=
trap 'told=1; kill -s TERM "$run" 2>/dev/null' TERM

# A signal interrupts the wait; the run may still have to save.
while true; do
  wait "$run"
  code=$?
  kill -0 "$run" 2>/dev/null || break
done
if [[ -n $told ]] && ((code == 0)); then
  code=143
fi
exit "$code"
