#!/usr/bin/env bash
#SBATCH --job-name=score_jax
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=score_jax-%j.log
# A verb on a SLURM cluster, a task for each GPU; any line above is overridden on the command line:
#   sbatch --nodes=2 launch/slurm.sh train --config=configs/adm/imagenet64.py --workdir=/shared/runs/adm
# From the repository, whose .venv and workdir all nodes must see. Three minutes before the time is up, and when the job
# is preempted, the run saves, and the job queues again until the work is done.
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?start it with sbatch, from the repository}" || exit 1
# shellcheck source=launch/env.sh
source launch/env.sh cuda || exit 1

# That of --signal; training says where a save takes longer.
export SCORE_JAX_GRACE_SECONDS=${SCORE_JAX_GRACE_SECONDS:-180}

# srun takes the CPUs of a task from here alone.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
srun --kill-on-bad-exit=1 launch/node.sh "$@" &
step=$! told=
trap 'told=1; kill -s TERM "$step" 2>/dev/null' TERM

while true; do
  wait "$step"
  code=$?
  kill -0 "$step" 2>/dev/null || break
done
if [[ -n $told ]] || ((code == 75 || code == 143)); then
  echo "slurm.sh: ended with $code before the work was done; queueing again."
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
