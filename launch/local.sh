#!/usr/bin/env bash
# Starts N processes on this machine as one job; each gets its part of the cores, or one GPU:
#   launch/local.sh 2 -- train --config=configs/demo/mnist.py --workdir=runs/mnist
# Every line is marked with its process. SIGTERM and SIGINT go to all of them. Once one fails the others have
# GRACE seconds (60) to end by themselves; the exit code is that of the first that failed.
set -uo pipefail

usage() {
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

[[ ${1:-} =~ ^[1-9][0-9]*$ && ${2:-} == -- && $# -ge 3 ]] || usage
count=$1
shift 2

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${VIRTUAL_ENV:-} ]]; then
  # shellcheck source=launch/env.sh
  source "$ROOT/launch/env.sh" demo || exit 1
fi

# XLA's CPU devices of each process: a power of two, so that batches split.
devices_each() {
  local share=$(($(nproc) / count)) devices=1
  while ((2 * devices <= share && devices < 8)); do
    devices=$((2 * devices))
  done
  echo "$devices"
}

free_port() {
  python -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])'
}

JAX_COORDINATOR_ADDRESS=localhost:$(free_port) || exit 1
export JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES=$count PYTHONUNBUFFERED=1
if [[ ${XLA_FLAGS:-} != *xla_force_host_platform_device_count* ]]; then
  devices=$(devices_each)
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
fi

pids=()
start() {
  local number=$1
  shift
  export JAX_PROCESS_ID=$number
  if [[ -z ${CUDA_VISIBLE_DEVICES:-} ]] && nvidia-smi -L >/dev/null 2>&1; then
    export CUDA_VISIBLE_DEVICES=$number
  fi
  exec python -m score_jax "$@" > >(sed -u "s/^/[$number] /") 2> >(sed -u "s/^/[$number] /" >&2)
}

for ((number = 0; number < count; number++)); do
  start "$number" "$@" &
  pids+=($!)
done

trap 'kill -s TERM "${pids[@]}" 2>/dev/null' TERM
trap 'kill -s INT "${pids[@]}" 2>/dev/null' INT

# Waits for whichever ends next, the timer too; a signal to this script interrupts the wait, and it waits again.
first_code=0 left=$count timer=
while ((left)); do
  wait -n -p ended "${pids[@]}" ${timer:+"$timer"}
  code=$?
  [[ -n ${ended:-} ]] || continue
  if [[ $ended == "$timer" ]]; then
    kill -s KILL "${pids[@]}" 2>/dev/null
    timer=
    continue
  fi
  left=$((left - 1))
  for number in "${!pids[@]}"; do
    if [[ ${pids[number]} == "$ended" ]]; then
      unset "pids[number]"
      break
    fi
  done
  if ((code && !first_code)); then
    first_code=$code
    how="ended with exit code $code"
    ((code > 128)) && how="was ended by signal $((code - 128))"
    echo "local.sh: process $number $how; the others have ${GRACE:-60} s. The same command goes on." >&2
    sleep "${GRACE:-60}" >/dev/null 2>&1 &
    timer=$!
  fi
done
[[ -n $timer ]] && kill "$timer" 2>/dev/null
exit "$first_code"
