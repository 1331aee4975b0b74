"""Runs run_classifier.py on a tiny model and small files of GLUE."""

import functools
import json
import pathlib

import run_classifier
from albert_tf import testing
from tests.support.script_runs import refused, run_script

LENGTH = 16
CONFIG = testing.tiny_config(num_hidden_layers=1, max_position_embeddings=LENGTH)

run = functools.partial(run_script, run_classifier.main)
refusal = functools.partial(refused, run_classifier.main)


def mrpc_flags(glue: pathlib.Path, folder: pathlib.Path) -> dict[str, object]:
    """Flags of a run in `folder`/run; writes its config beside it."""
    CONFIG.to_json_file(str(folder / "albert_config.json"))
    return {
        "task_name": "mrpc",
        "data_dir": glue,
        "albert_config_file": folder / "albert_config.json",
        "spm_model_file": testing.SPM_MODEL_FILE,
        "output_dir": folder / "run",
        "max_seq_length": LENGTH,
        "train_batch_size": 8,
        "train_step": 4,
        "save_checkpoints_steps": 2,
    }


def only(flags: dict[str, object], *names: str) -> dict[str, object]:
    return {name: flags[name] for name in names}


def results_in(folder: pathlib.Path) -> dict[str, float]:
    return json.loads((folder / "eval_results.json").read_text())
