#!/usr/bin/env bash
# EMP-SSL, patches, 30 epochs (table2).
#   [TAG=name] bash scripts/emp_ssl.sh [cifar10|cifar100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=emp_ssl-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/emp_ssl
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=29.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name emp_ssl \
    crops=fixed_patch \
    "data=$DATASET" \
    crops.num_crops=20 \
    max_epochs=30 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=29.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard protocol=crops num_crops=32 space=crop "results_dir=reproduce/results/$NAME/crops32"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard protocol=crops num_crops=64 space=crop "results_dir=reproduce/results/$NAME/crops64"
