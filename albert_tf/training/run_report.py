"""What a run says of itself at its end: whether its loss fell, and the page of its report."""

import datetime
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf import __version__, html_report
from albert_tf.checkpoints.run_folder import REPORT
from albert_tf.html_report import Section
from albert_tf.training import provenance
from albert_tf.training.session import Session

_SHARE, _LEAST_FALL = 5, 0.05


def what_did_not_fall(losses: Mapping[int, float]) -> str:
    """Says that the training loss did not fall: the last fifth of it is less than 5 % below the first fifth.

    `losses` are by step; fewer than two, or losses that fell, give an empty text.
    """
    if len(losses) < 2:
        return ""
    part = -(-len(losses) // _SHARE)
    values = list(losses.values())
    first, last = float(np.mean(values[:part])), float(np.mean(values[-part:]))
    if last <= (1 - _LEAST_FALL) * first:
        return ""
    fate = "did not fall" if last >= first else "hardly fell"
    return (
        f"the training loss {fate}: {first:.4f} at the beginning, {last:.4f} at the end. Try another "
        "learning rate, more steps, a longer warm-up, or pretrained weights"
    )


def notes_on_loss(session: Session, losses: Mapping[int, float]) -> list[str]:
    """What `what_did_not_fall` says of the losses of all training in the folder, if this run trains."""
    note = what_did_not_fall(losses) if session.options.do_train else ""
    return [note] if note else []


def write_run_report(
    session: Session,
    title: str,
    losses: Mapping[int, float],
    results: Section,
    sections: Sequence[Section] = (),
) -> str:
    """Writes the page with results, curves, more sections, and facts; returns its path."""
    path = session.path_of(REPORT, ".html")
    evaluations, best = session.history.evaluations, session.history.best()
    history = [{"step": step, "training loss": loss} for step, loss in losses.items()]
    history += [{"step": evaluation["global_step"], **evaluation} for evaluation in evaluations]
    metrics = ["training loss", *(name for name in (evaluations or [{}])[-1] if name != "global_step")]
    step = int(best["global_step"]) if best else None
    curves = [html_report.curves(history, metrics, step)] if history else []
    encoder = {name.replace("_", " "): value for name, value in session.task.config.to_dict().items()}
    facts = [html_report.facts(_facts(session)), html_report.facts(encoder, "The encoder")]
    html_report.write_report(path, title, [results, *curves, *sections, *facts])
    return path


def _facts(session: Session) -> dict[str, object]:
    task, options = session.task, session.options
    facts: dict[str, object] = {"folder": session.folder, "step": f"{session.step:,}"}
    if options.command:
        facts["command"] = options.command
    if not options.do_train and (trained_by := provenance.command_of(session.folder)):
        facts["trained by"] = trained_by
    if options.do_train:
        facts["training data"] = task.training_data().described
    if options.do_eval:
        facts["evaluated on"] = f"{task.eval_name}: {task.eval_described()}"
    facts |= {
        "parameters": f"{session.model.count_params():,}",
        "precision": options.mixed_precision,
    }
    if options.do_train:
        facts |= {
            **task.facts(),
            "started from": options.init_checkpoint or "fresh weights",
            "seed": options.seed,
            "steps": f"{options.num_train_steps:,}, {options.num_warmup_steps:,} of them warm-up",
            "batch": options.train_batch_size,
            "learning rate": options.learning_rate,
            "optimizer": options.optimizer,
        }
    versions = f"albert_tf {__version__}, TensorFlow {tf.__version__}, tf_keras {tf_keras.__version__}"
    now = datetime.datetime.now().astimezone()
    return facts | {"versions": versions, "date": f"{now:%Y-%m-%d %H:%M %Z}"}
