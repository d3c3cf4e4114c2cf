#!/usr/bin/env bash
# Robust SimCLR, 2 crops, PGD-5, 500 epochs (table1, table3, table4, table6).
#   [TAG=name] bash scripts/robust_simclr_crop.sh [cifar10|cifar100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=robust_simclr_crop-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/robust_simclr
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=499.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name robust_simclr \
    "data=$DATASET" \
    crops.num_crops=2 \
    max_epochs=500 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=499.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust autoattack=true "results_dir=reproduce/results/$NAME/autoattack"
