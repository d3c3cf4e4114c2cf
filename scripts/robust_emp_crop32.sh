#!/usr/bin/env bash
# robust_emp, 30 epochs (ablations).
#   [TAG=name] bash scripts/robust_emp_crop32.sh [cifar10|cifar100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=robust_emp_crop32-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/robust_emp
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=29.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name robust_emp \
    "data=$DATASET" \
    crops.num_crops=32 \
    max_epochs=30 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=29.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust "results_dir=reproduce/results/$NAME/robust"
