#!/usr/bin/env bash
# All rows of Tables 1 to 6, one GPU each:  sbatch scripts/slurm_array.sh
# The ablations:  sbatch --array=0-33 scripts/slurm_array.sh scripts/jobs_ablations.txt
# Made by python -m solo_adv.reproduce --write-scripts.
#SBATCH --job-name=solo-adv
#SBATCH --array=0-41
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=2-00:00:00
#SBATCH --requeue
#SBATCH --output=slurm-%A_%a.out
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
mapfile -t JOBS < "${1:-scripts/jobs_tables.txt}"
read -r ROW DATASET <<< "${JOBS[$SLURM_ARRAY_TASK_ID]}"
exec bash "scripts/$ROW.sh" "$DATASET" "${@:2}"
