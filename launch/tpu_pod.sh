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
#   launch/tpu_pod.sh NAME keep train ...          all of it, again after every preemption, until the work is done; then
#                                                  the slice is given back
# SPOT=1 asks for a slice that may be taken away. POLL is the seconds between looks (30), PATIENCE the looks in a row that
# may fail (20), TRIES the runs in a row that may end within ten minutes, before `keep` gives up (5). PASS names the
# variables that the run is given from here (XLA_FLAGS LIBTPU_INIT_ARGS JAX_COMPILATION_CACHE_DIR SCORE_JAX_JOIN_SECONDS
# SCORE_JAX_GRACE_SECONDS). TPU7x is not to be had so: launch/xpk.sh.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  sed -n '/^set /q; 2,$s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
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
poll=${POLL:-30} patience=${PATIENCE:-20} tries=${TRIES:-5}
readonly QUICK=600

queued() {
  local what=$1
  shift
  gcloud compute tpus queued-resources "$what" "$name" "${place[@]}" "$@"
}

on() {
  local worker=$1 command=$2
  gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$worker" --command="$command"
}

say() {
  echo "tpu_pod.sh: $(date -u +%FT%TZ) $*" >&2
}

# ABSENT where there is no such slice; UNKNOWN where the service does not say, which tells nothing of the slice.
state() {
  local said
  if said=$(queued describe --format='value(state.state)' 2>&1); then
    echo "${said:-UNKNOWN}"
  elif [[ $said == *NOT_FOUND* ]]; then
    echo ABSENT
  else
    echo UNKNOWN
  fi
}

# Until the slice is there, or has failed. What had failed or was taken away before is given back first.
create() {
  local now asked='' unknown=0
  while true; do
    now=$(state)
    [[ $now == UNKNOWN ]] || unknown=0
    case $now in
      ACTIVE) return 0 ;;
      ABSENT)
        # A request may not be listed at once.
        if [[ -z $asked ]]; then
          queued create --node-id="$name" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" \
            ${SPOT:+--spot} || return 1
          asked=1
          continue
        fi
        ;;
      FAILED | SUSPENDED)
        say "the slice is $now."
        [[ -z $asked ]] || return 1
        delete || return 1
        ;;
      UNKNOWN)
        unknown=$((unknown + 1))
        if ((unknown >= patience)); then
          say "the service has not said for $unknown looks what became of the slice: see 'queued-resources describe'."
          return 75
        fi
        ;;
    esac
    say "$now ..."
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

# What the run is given of the environment here.
passed() {
  local variable
  for variable in ${PASS:-XLA_FLAGS LIBTPU_INIT_ARGS JAX_COMPILATION_CACHE_DIR SCORE_JAX_JOIN_SECONDS SCORE_JAX_GRACE_SECONDS}; do
    if [[ -n ${!variable:-} ]]; then
      printf '%q ' "$variable=${!variable}"
    fi
  done
}

# Detached, so that the run outlives this connection; its exit code goes into a file.
start() {
  local words
  words=$(printf '%q ' "$@")
  on all "cd score_jax && rm -f exit_code && { setsid nohup env $(passed) bash -c 'source launch/env.sh tpu && launch/node.sh \"\$@\"; echo \$? >exit_code' node $words >>score_jax.log 2>&1 </dev/null & echo \$! >pid; }"
}

logs() {
  on "${WORKER:-0}" "tail -n 50 -F score_jax/score_jax.log"
}

stop() {
  on all "pkill -TERM -g \$(cat score_jax/pid) -f '[b]ash launch/node.sh'"
}

# Whether the first machine has a run that goes on: a second one must not begin beside it.
is_running() {
  on "${WORKER:-0}" "cd score_jax 2>/dev/null && [ ! -e exit_code ] && kill -0 \$(cat pid) 2>/dev/null"
}

# The first machine's exit code; 143 where the slice is gone, 75 where it cannot be reached any more.
wait_for_end() {
  local now said silent=0
  while true; do
    now=$(state)
    case $now in
      ACTIVE)
        said=$(on "${WORKER:-0}" "cat score_jax/exit_code 2>/dev/null || echo running" 2>/dev/null) || said=''
        said=${said//[^a-z0-9]/}
        ;;
      UNKNOWN) said='' ;;
      *) return 143 ;;
    esac
    case $said in
      running) silent=0 ;;
      '')
        silent=$((silent + 1))
        say "no answer from machine ${WORKER:-0} ($silent of $patience; the slice is $now)."
        ((silent < patience)) || return 75
        ;;
      *) return "$said" ;;
    esac
    sleep "$poll"
  done
}

delete() {
  queued delete --force --quiet
}

# Tries a step of `keep` a few times: a machine may be slow to come, a mirror or the service may fail for a moment.
insist() {
  local try
  for ((try = 1; ; try++)); do
    "$@" && return 0
    ((try < 3)) || return 1
    say "$1 failed; once more."
    sleep "$poll"
  done
}

# Gives the slice back, and says so where it cannot: it costs money.
give_back() {
  [[ $(state) == ABSENT ]] || insist delete || say "THE SLICE $name COULD NOT BE DELETED AND IS PAID FOR: launch/tpu_pod.sh $name delete"
}

# Success and bad input (2) end it; whatever else ended the run, the same command goes on. Runs that end at once are tried
# again ever more slowly, and not for ever.
keep() {
  local code began i failures=0
  trap 'say "interrupted. THE SLICE $name IS STILL THERE: launch/tpu_pod.sh $name keep ... goes on, or delete"; exit 130' INT TERM
  while true; do
    began=$SECONDS
    if create && { is_running || { insist install && began=$SECONDS && start "$@"; }; }; then
      wait_for_end
      code=$?
      ((code != 75)) || stop
    else
      code=75
    fi
    if ((code == 0 || code == 2)); then
      break
    fi
    ((SECONDS - began > QUICK)) && failures=0
    # A preemption is nobody's failure.
    ((code == 143)) || failures=$((failures + 1))
    if ((failures >= tries)); then
      say "$failures runs in a row ended at once, the last with $code: giving up."
      break
    fi
    say "ended with $code; starting again."
    for ((i = 0; i < 1 << failures; i++)); do
      sleep "$poll"
    done
  done
  give_back
  return "$code"
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
