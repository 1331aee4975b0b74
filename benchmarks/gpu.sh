#!/usr/bin/env bash
# Ten minutes on a machine with an NVIDIA GPU: installs, runs the tests whose numbers a GPU could change, and times
# training with and without XLA. What it prints is Markdown, and is kept in gpu.md.
#
# Usage: benchmarks/gpu.sh [FOLDER_OF_WHEELS]   (PRESETS="base_v2 xxlarge_v2" and PYTHON=python3 are the defaults)
set -euo pipefail
cd "$(dirname "$0")/.."
end=$((SECONDS + ${SECONDS_IN_ALL:-580}))
venv=${VENV:-.venv-gpu}
if [ ! -x "$venv/bin/python" ]; then
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/pip" install --quiet ${1:+--no-index --find-links "$1"} \
    --requirement requirements-dev.txt 'tensorflow[and-cuda]>=2.20,<2.21'
fi
in_time() { timeout $((end > SECONDS ? end - SECONDS : 1)) "$venv/bin/python" "$@"; }

exec > >(tee gpu.md)
{ nvidia-smi -L || echo "no GPU: $(uname -m)"; } 2>/dev/null
echo
# The original's outputs and three steps of its optimizers; 16 bits, recomputing, parts of a batch, XLA. TF32 would
# round products to 10 bits.
tests=(models/test_encoder.py checkpoints/test_checkpoint_goldens.py training/test_optimization.py
  training/test_mixed_precision.py training/test_recompute.py training/test_accumulation.py training/test_trainer.py)
NVIDIA_TF32_OVERRIDE=0 in_time -m pytest --durations=0 --durations-min=20 "${tests[@]/#/tests/}" | tail -n 12 || true

for preset in ${PRESETS:-base_v2 xxlarge_v2}; do
  for precision in bfloat16 float32; do
    for task_and_size in 'pretraining 8 512' 'classification 32 128'; do
      read -r task batch length <<<"$task_and_size"
      printf '\n%s %s %s x %s, %s\n\n' "$task" "$preset" "$batch" "$length" "$precision"
      in_time -m benchmarks.pretraining_step --compare=XLA --rounds=1 --task="$task" --preset="$preset" \
        --mixed_precision="$precision" --batch_size="$batch" --max_seq_length="$length" 2>/dev/null ||
        echo 'It failed, or no time was left.'
    done
  done
done
