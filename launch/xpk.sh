#!/usr/bin/env bash
# A verb on a slice of TPUs, TPU7x among them, in Google's Kubernetes, by Google's xpk:
#   export PROJECT=mine ZONE=us-central1-c CLUSTER=mine TPU=tpu7x-2x2x2
#   export IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/score_jax:TAG
#   launch/xpk.sh NAME train --config=configs/adm/imagenet64.py --workdir=/tmp/run \
#       --config.training.checkpoints=gs://BUCKET/adm
# The cluster is one that `xpk cluster create` made, with TPU as its --tpu-type; the image is that of launch/Dockerfile. The
# work begins again, on all machines, until it ends with 0, 1 or 2, RESTARTS times at most (1000, preemptions counted).
# `xpk workload list` and `delete` show and end it. PASS names the variables that the run is given from here (XLA_FLAGS
# LIBTPU_INIT_ARGS JAX_COMPILATION_CACHE_DIR SCORE_JAX_JOIN_SECONDS SCORE_JAX_GRACE_SECONDS).
set -uo pipefail

usage() {
  sed -n '/^set /q; 2,$s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

(($# >= 2)) || usage
for variable in PROJECT ZONE CLUSTER TPU IMAGE; do
  if [[ -z ${!variable:-} ]]; then
    echo "xpk.sh: $variable is not set." >&2
    usage
  fi
done
name=$1
shift

passed=()
for variable in ${PASS:-XLA_FLAGS LIBTPU_INIT_ARGS JAX_COMPILATION_CACHE_DIR SCORE_JAX_JOIN_SECONDS SCORE_JAX_GRACE_SECONDS}; do
  if [[ -n ${!variable:-} ]]; then
    passed+=(--env="$variable=${!variable}")
  fi
done

# xpk restarts what ends with 127 or more by itself, and ends the work at all else: 75 is a world that failed. One process a
# machine, of all its chips; `exec`, so that SIGTERM comes to it.
exec xpk workload create --project="$PROJECT" --zone="$ZONE" --cluster="$CLUSTER" --workload="$name" \
  --tpu-type="$TPU" --num-slices=1 --docker-image="$IMAGE" --no-use-parallel-containers \
  --max-restarts="${RESTARTS:-1000}" --restart-on-exit-codes=75 --termination-grace-period-seconds=120 \
  ${passed[@]+"${passed[@]}"} --command="exec launch/node.sh $(printf '%q ' "$@")"
