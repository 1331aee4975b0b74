"""Compares the outputs of exported files with those of the Keras model, on real sentences of every length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert_tf.errors import InputError
from albert_tf.export.device.runtimes import Arrays, Run, run_in_own_process
from albert_tf.export.device.token_model import MASKED_POSITIONS, TokenModel
from albert_tf.export.serving.served_tags import WORD_SHAPES
from albert_tf.export.trained_model import TrainedModel
from albert_tf.files import open_file
from albert_tf.tokenization.in_graph.text_inputs import TextInputs

SENTENCES = (
    "The film is a delight from beginning to end.",
    "I would not recommend this restaurant to anyone.",
    "Anna went to the market on Saturday and came back with three kilos of apples.",
    "Where was the treaty signed, and who was there?",
    "The company said on Monday that its profit had risen by 12 percent, to $4.1 billion.",
    "Rain is expected in the north; the south stays dry.",
    "No one had opened the door for years, so they broke the lock to enter the old library.",
    "He can't swim.",
)

_MOST_SENTENCES = 50


class Comparison(NamedTuple):
    """How close the outputs of an exported file are to those of the Keras model; see `Exported`."""

    largest_difference: float
    agreement: float | None


class DeviceCheck:
    """Batches of real sentences, and the outputs of the Keras model for them.

    Each sentence makes a row; if the task takes two texts, the next sentence is the second text. One more row
    holds all sentences, joined to one text.

    The model is made of `trained`; batch size and lengths are those of the exported files.
    """

    def __init__(
        self,
        model: TokenModel,
        trained: TrainedModel,
        batch_size: int,
        lengths: Sequence[int],
        sentences: Sequence[str] = SENTENCES,
    ):
        self._model = model
        self._batches = [
            batch
            for length in lengths
            for batch in _batches(model, trained, batch_size, length, [*sentences, " ".join(sentences)])
        ]
        self._expected = [self._ask(batch) for batch in self._batches]

    def run(self, path: str) -> tuple[Run, Comparison]:
        """Runs a file on all batches, and compares its outputs with those of the Keras model."""
        run = run_in_own_process(path, self._batches)
        pairs = list(zip(self._expected, run.outputs, strict=True))
        # If one difference is NaN, so is np.max; Python's max may not be.
        difference = float(np.max([_difference(e[name], given[name]) for e, given in pairs for name in e]))
        decisions = [(self._model.decisions(e), self._model.decisions(given)) for e, given in pairs]
        if decisions[0][0] is None:
            return run, Comparison(difference, None)
        equal = np.concatenate([np.ravel(e == given) for e, given in decisions])
        return run, Comparison(difference, float(equal.mean()))

    def _ask(self, batch: Arrays) -> Arrays:
        outputs = self._model(**{name: tf.constant(values) for name, values in batch.items()})
        return {name: values.numpy() for name, values in outputs.items()}


def read_sentences(path: str) -> list[str]:
    """Reads the first 50 lines of a UTF-8 file that are not blank; memory must hold the outputs for all.

    Raises:
      InputError: all lines are blank, or a line is not UTF-8.
    """
    sentences: list[str] = []
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            try:
                sentence = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number} is not UTF-8") from None
            sentences += [sentence] if sentence else []
            if len(sentences) == _MOST_SENTENCES:
                break
    if not sentences:
        raise InputError(f"{path} holds no sentences; it needs one sentence a line")
    return sentences


def _batches(
    model: TokenModel, trained: TrainedModel, batch_size: int, length: int, texts: Sequence[str]
) -> list[Arrays]:
    """Batches of inputs of one length; the first texts come again to fill the last batch."""
    specs = model.specs(batch_size, length)
    per_row = int(np.prod(specs[0].shape[1:-1]))  # number of choices of multiple choice, else 1
    numbers = np.resize(np.arange(len(texts)), -(-len(texts) // batch_size) * batch_size)
    first = np.repeat(numbers, per_row)
    second = (first + 1 + np.tile(np.arange(per_row), len(numbers))) % len(texts)
    has_one_text = (
        trained.head in ("encoder", "similarity", "token_classification")
        or trained.task.get("num_texts") == 1
    )
    columns = [first] if has_one_text else [first, second]
    inputs = TextInputs(trained.tokenizer, length)(*(tf.gather(texts, column) for column in columns))
    arrays = {name: np.pad(ids, [(0, 0), (0, length - ids.shape[1])]) for name, ids in inputs.items()}
    if trained.head == "pretraining":
        positions = np.arange(specs[-1].shape[1], dtype=np.int32)
        arrays[MASKED_POSITIONS] = np.tile(positions, (len(numbers), 1))
    if specs[-1].name == WORD_SHAPES:
        ids, tokenizer = arrays["input_ids"], trained.tokenizer
        starts = tokenizer.is_word_start[ids] & ~np.isin(ids, tokenizer.special_ids)
        arrays[WORD_SHAPES] = starts.astype(np.int32)
    return [
        {
            spec.name: arrays[spec.name][row * per_row : (row + batch_size) * per_row].reshape(spec.shape)
            for spec in specs
        }
        for row in range(0, len(numbers), batch_size)
    ]


def _difference(expected: np.ndarray, given: np.ndarray) -> float:
    """The largest difference of two numbers; above 1 relative to the number; 0 for indices."""
    if expected.dtype.kind != "f":
        return 0.0
    return float(np.max(np.abs(expected - given) / np.maximum(1, np.abs(expected)), initial=0))
