#!/usr/bin/env python3
"""Exports a trained model for TensorFlow Serving: text in, answers out."""

import dataclasses
import sys

from albert_tf.cli.export_options import TrainedModelOptions
from albert_tf.cli.flags import option
from albert_tf.cli.script import script
from albert_tf.cli.settings import MASK_GUESSES, RaceSettings, SquadSettings, kept_option
from albert_tf.errors import escaped


@dataclasses.dataclass(frozen=True)
class SavedModelOptions(TrainedModelOptions):
    """Exports a trained model as a SavedModel: text in, answers out.

    Its signatures take texts (serving_default), ids (tokens) or the original release's serialized examples
    (serialized_examples); every model also gives embeddings of texts. Its assets hold config, vocabulary,
    labels, results and the command of the training.
    """

    export_dir: str = option(help="folder of the exported versions; a server watches it")
    version: int | None = option(
        None, at_least=1, help="number of the version (default: the next in --export_dir)"
    )
    threshold_to_export: float | None = option(
        None, help="classification: a constant for clients, which serialized_examples returns as `threshold`"
    )
    exit: str | None = option(
        None,
        help="classification, trained with --early_exit: patience:3, entropy:0.2, budget:0.5 or, for scores, "
        "patience:3:0.1; see run_classifier.py (default: all layers)",
    )
    max_qa_length: int | None = kept_option(RaceSettings, "max_qa_length", "race: ")
    top_k: int | None = option(
        None, at_least=1, help=f"pretraining: guesses for each [MASK] (default: {MASK_GUESSES})"
    )
    doc_stride: int | None = kept_option(SquadSettings, "doc_stride", "squad: ")
    max_query_length: int | None = kept_option(SquadSettings, "max_query_length", "squad: ")
    max_answer_length: int | None = kept_option(SquadSettings, "max_answer_length", "squad: ")
    n_best_size: int | None = kept_option(SquadSettings, "n_best_size", "squad_v1: ")
    null_score_diff_threshold: float | None = option(
        None,
        help="squad_v2: questions with a higher null score get no answer (default: the threshold of the last "
        "evaluation, else 0)",
    )


@script(SavedModelOptions)
def main(options: SavedModelOptions) -> None:
    """Loads, exports, and says what can be asked."""
    from albert_tf.export.serving.saved_model import describe, serve, write_saved_model
    from albert_tf.export.trained_model import arguments_of, open_trained_model

    of_a_task = [name for name in SavedModelOptions.__annotations__ if name not in ("export_dir", "version")]
    given = {name: getattr(options, name) for name in of_a_task if getattr(options, name) is not None}
    with open_trained_model(**arguments_of(options)) as trained:
        served = serve(trained, given)
        folder = write_saved_model(served, trained, options.export_dir, options.version)
        print(describe(folder))
        print(escaped(f"{trained.path} ({trained.task['task_name']}) is exported to {folder}"))


if __name__ == "__main__":
    sys.exit(main())
