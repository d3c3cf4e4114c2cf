#!/usr/bin/env bash
# Starts a job with one GPU for each row. Rows of Tables 1 to 6:  sbatch scripts/slurm_array.sh
# Ablations and variants:  sbatch --array=42-75 scripts/slurm_array.sh
# Several GPUs for each row:  sbatch --gpus=4 scripts/slurm_array.sh devices=4
#SBATCH --job-name=solo-adv
#SBATCH --array=0-41
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=2-00:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --output=slurm-%A_%a.out
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
bash scripts/run_row.sh "$SLURM_ARRAY_TASK_ID" "$@" &
# Three minutes before the time is over, or if it is preempted, the run saves and ends with status 75.
trap 'kill -USR1 $!' USR1
trap 'kill -TERM $!' TERM
while kill -0 $! 2> /dev/null; do
  wait $! # a signal ends this wait, but not the run
done
wait $!
STATUS=$?
[ "$STATUS" -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$STATUS"
