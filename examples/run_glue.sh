#!/usr/bin/env bash
# Fine-tunes and evaluates on every GLUE task with the paper's hyperparameters, and writes the server's files.
# ALBERT_ROOT: folder with glue/ (a sub-folder for each task) and the released albert_base/. ALBERT_WEIGHTS, if
# set, names other weights; OUTPUT_DIR, if set, names another folder than $ALBERT_ROOT/runs.
set -euo pipefail
: "${ALBERT_ROOT:?is not set: the folder with glue/ and albert_base/}"
weights=${ALBERT_WEIGHTS:-$ALBERT_ROOT/albert_base}
output=${OUTPUT_DIR:-$ALBERT_ROOT/runs}
cd "$(dirname "$0")/.."
for task in CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI; do
  python run_classifier.py --task_name="$task" --data_dir="$ALBERT_ROOT/glue" --init_checkpoint="$weights" \
    --output_dir="$output/$task" --hparams=paper --do_train --do_eval --do_predict \
    --save_checkpoints_steps=200 "$@"
done
python run_classifier.py --task_name=AX --data_dir="$ALBERT_ROOT/glue" --output_dir="$output/AX" \
  --init_checkpoint="$output/MNLI/model.ckpt-best" --do_predict "$@"
