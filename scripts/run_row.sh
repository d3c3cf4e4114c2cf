#!/usr/bin/env bash
# Trains and judges one line of rows.txt. The same command continues an interrupted run.
#   bash scripts/run_row.sh NUMBER [option or key=value ...]      (lines are counted from 0)
# Everything after the number is passed to python -m solo_adv.reproduce, whose --help lists the options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t ROWS < scripts/rows.txt
NUMBER=${1:?which line of scripts/rows.txt, from 0 to $((${#ROWS[@]} - 1))?}
read -r ROW DATASET <<< "${ROWS[$NUMBER]:?scripts/rows.txt has no line $NUMBER}"
exec "${PYTHON:-python}" -m solo_adv.reproduce --row "$ROW" --dataset "$DATASET" "${@:2}"
