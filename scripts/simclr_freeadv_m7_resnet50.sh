#!/usr/bin/env bash
# SimCLR-FreeAdv, ResNet-50, 2 crops, m=7, 150 epochs (table5).
#   [TAG=name] bash scripts/simclr_freeadv_m7_resnet50.sh [cifar10|cifar100] [key=value ...]
# Settings go to pretraining; give runs with other settings a TAG of their own.
# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
DATASET=${1:-cifar10}
NAME=simclr_freeadv_m7_resnet50-$DATASET${TAG:+-$TAG}
RUNS=reproduce/trained_models/$NAME/simclr_freeadv
PYTHON=${PYTHON:-python}

if compgen -G "$RUNS/*/*-ep=149.ckpt" > /dev/null; then
  echo "$NAME is already trained."
else
  $PYTHON main_pretrain.py --config-name simclr_freeadv \
    adversary.replays=7 \
    backbone.name=resnet50 \
    "data=$DATASET" \
    crops.num_crops=2 \
    max_epochs=150 \
    "name=$NAME" \
    "checkpoint.dir=reproduce/trained_models/$NAME" \
    ++auto_resume.max_hours=1000000 \
    "${@:2}"
fi
CHECKPOINT=$(ls -t "$RUNS"/*/*-ep=149.ckpt | head -n 1)

$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=standard "results_dir=reproduce/results/$NAME/standard"
$PYTHON main_robust.py "checkpoint='$CHECKPOINT'" linear=robust "results_dir=reproduce/results/$NAME/robust"
