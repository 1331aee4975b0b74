#!/usr/bin/env bash
# For a machine with an NVIDIA GPU, in ten minutes: the tests whose numbers a GPU could change, then the time of
# training steps with XLA off and on. It prints Markdown. Its virtual environment is .venv-gpu. It installs nothing
# if that is there; PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER take all packages from a folder of wheels.
#
# Usage: [PRESETS="base_v2 xxlarge_v2"] benchmarks/gpu.sh [FLAGS OF benchmarks.pretraining_step ...] > gpu.md
set -euo pipefail
cd "$(dirname "$0")/.."
python=${VENV:-.venv-gpu}/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv "${VENV:-.venv-gpu}"
  "$python" -m pip install --requirement requirements-dev.txt 'tensorflow[and-cuda]>=2.20,<2.21' >&2
fi
end=$((SECONDS + 580))

nvidia-smi -L 2>/dev/null || echo "No GPU: $(uname -m)"
echo
tests=(models/test_encoder.py checkpoints/test_checkpoint_goldens.py training/test_optimization.py
  training/test_mixed_precision.py training/test_recompute.py training/test_accumulation.py training/test_trainer.py)
# Without TF32, which rounds the products of float32 to 10 bits.
NVIDIA_TF32_OVERRIDE=0 timeout 240 "$python" -m pytest --durations-min=1000 "${tests[@]/#/tests/}" | tail -n 20 ||
  echo 'Tests failed, or took more than 4 minutes.'

for preset in ${PRESETS:-base_v2 xxlarge_v2}; do
  for precision in bfloat16 float32; do
    for task in pretraining classification; do
      flags=(--task="$task" --preset="$preset" --mixed_precision="$precision" --batch_size=8 --max_seq_length=512 "$@")
      printf '\n`%s`\n\n' "${flags[*]}"
      timeout $((end > SECONDS ? end - SECONDS : 1)) "$python" -m benchmarks.pretraining_step --compare=XLA --rounds=1 \
        "${flags[@]}" || echo 'It failed, or no time was left.'
    done
  done
done
