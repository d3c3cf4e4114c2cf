#!/usr/bin/env bash
# CF-AMC-SSL, 16 crops, m=5, 6 epochs (table4, table6).
#   [TAG=name] bash scripts/cfamc_m5.sh [cifar10|cifar100|imagenet100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=cfamc_m5-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/cfamc
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=5.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name cfamc \
    adversary.replays=5 \
    "data=$DATASET" \
    crops.num_crops=16 \
    max_epochs=6 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=5.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
if [[ "$DATASET" =~ ^(cifar10|cifar100)$ ]]; then
  $PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust autoattack=true "results_dir=reproduce/results/$NAME/autoattack"
fi
if [[ "$DATASET" =~ ^(imagenet100)$ ]]; then
  $PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust "results_dir=reproduce/results/$NAME/robust"
fi
