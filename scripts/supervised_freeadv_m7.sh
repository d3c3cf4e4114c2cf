#!/usr/bin/env bash
# Supervised-FreeAdv, m=7, 300 epochs (table4).
#   [TAG=name] bash scripts/supervised_freeadv_m7.sh [cifar10|cifar100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=supervised_freeadv_m7-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/supervised_freeadv
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=299.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name supervised_freeadv \
    adversary.replays=7 \
    method_kwargs.loss=cross_entropy \
    adversary.views=all \
    "data=$DATASET" \
    crops.num_crops=1 \
    max_epochs=300 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=299.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust "results_dir=reproduce/results/$NAME/robust"
