#!/usr/bin/env bash
# A slice of TPUs on Google Cloud, from asking for it to giving it back:
#   export PROJECT=mine ZONE=us-west4-a ACCELERATOR=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite
#   launch/tpu_pod.sh NAME create                  asks for the slice, and waits until it is there
#   launch/tpu_pod.sh NAME install                 this repository's HEAD, on all its machines
#   launch/tpu_pod.sh NAME start train --config=configs/adm/imagenet64.py --workdir=runs/adm \
#       --config.training.checkpoints=gs://BUCKET/adm
#   launch/tpu_pod.sh NAME logs                    of the first machine, as it comes; WORKER=3 of another
#   launch/tpu_pod.sh NAME wait                    until the work ends; its exit code
#   launch/tpu_pod.sh NAME stop                    the run saves and ends
#   launch/tpu_pod.sh NAME delete
#   launch/tpu_pod.sh NAME keep train ...          all of it, again after every preemption, until the work is done
# SPOT=1 asks for a slice that may be taken away. POLL is the seconds between looks (30).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

(($# >= 2)) || usage
for variable in PROJECT ZONE ACCELERATOR RUNTIME; do
  if [[ -z ${!variable:-} ]]; then
    echo "tpu_pod.sh: $variable is not set." >&2
    usage
  fi
done
name=$1 action=$2
shift 2
place=(--project="$PROJECT" --zone="$ZONE")
poll=${POLL:-30}

queued() {
  local what=$1
  shift
  gcloud compute tpus queued-resources "$what" "$name" "${place[@]}" "$@"
}

on() {
  local worker=$1 command=$2
  gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$worker" --command="$command"
}

state() {
  queued describe --format='value(state.state)' 2>/dev/null || echo ABSENT
}

create() {
  local now
  if [[ $(state) == ABSENT ]]; then
    queued create --node-id="$name" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" \
      ${SPOT:+--spot} || return 1
  fi
  while true; do
    now=$(state)
    case $now in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED | ABSENT)
        echo "tpu_pod.sh: the request is $now: see 'queued-resources describe', then delete it." >&2
        return 1
        ;;
    esac
    echo "tpu_pod.sh: $now ..."
    sleep "$poll"
  done
}

# The machines come with a Python that is too old.
readonly PYTHON_THERE="command -v python3.11 python3.12 python3.13 || { sudo apt-get -q update && sudo apt-get -qy install python3.11-venv; }"

install() {
  local archive
  archive=$(mktemp --suffix=.tar.gz) || return 1
  git archive --format=tar.gz --output="$archive" HEAD &&
    gcloud compute tpus tpu-vm scp "$archive" "$name:score_jax.tar.gz" "${place[@]}" --worker=all &&
    on all "$PYTHON_THERE" &&
    on all "mkdir -p score_jax && tar xzf score_jax.tar.gz -C score_jax && cd score_jax && bash -c 'source launch/env.sh tpu'"
  local code=$?
  rm -f "$archive"
  return "$code"
}

# Detached, so that the run outlives this connection; its exit code goes into a file.
start() {
  local words
  words=$(printf '%q ' "$@")
  on all "cd score_jax && rm -f exit_code && { setsid nohup bash -c 'source launch/env.sh tpu && launch/node.sh \"\$@\"; echo \$? >exit_code' node $words >>score_jax.log 2>&1 </dev/null & }"
}

logs() {
  on "${WORKER:-0}" "tail -n 50 -F score_jax/score_jax.log"
}

stop() {
  on all "pkill -TERM -f '[b]ash launch/node.sh'"
}

# The first machine's exit code; 143 where the slice is gone.
wait_for_end() {
  local code
  while true; do
    if [[ $(state) != ACTIVE ]]; then
      return 143
    fi
    code=$(on "${WORKER:-0}" "cat score_jax/exit_code 2>/dev/null" 2>/dev/null | tr -dc 0-9)
    if [[ -n $code ]]; then
      return "$code"
    fi
    sleep "$poll"
  done
}

delete() {
  queued delete --force --quiet
}

# Bad input (2) and success end it; whatever else ended the run, the same command goes on.
keep() {
  local code
  while true; do
    case $(state) in
      FAILED | SUSPENDING | SUSPENDED) delete || return 1 ;;
    esac
    create && install && start "$@" || return 1
    wait_for_end
    code=$?
    if ((code == 0 || code == 2)); then
      return "$code"
    fi
    echo "tpu_pod.sh: ended with $code; starting again."
    sleep "$poll"
  done
}

case $action in
  start | keep)
    (($#)) || usage
    "$action" "$@"
    ;;
  create | install | logs | stop | delete) "$action" ;;
  wait) wait_for_end ;;
  *) usage ;;
esac
