"""`open_model`: a trained model that answers, from a run, weights of any kind or an export."""

import functools
import inspect
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  it has the operations of an export

from albert_tf.checkpoints.assets import Assets
from albert_tf.cli.flags import UsageError
from albert_tf.errors import InputError, escaped
from albert_tf.export.serving.saved_model import find_export, serve
from albert_tf.export.trained_model import open_trained_model
from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.tokenizer import many_texts

Answer = dict[str, Any]
_Function = Callable[..., Mapping[str, tf.Tensor]]
_Column = Sequence[str] | Sequence[list[str]]

# The inputs of all tasks, in the order in which `predict` takes those of a task.
_INPUTS = ("text", "text_pair", "passage", "question", "options", "context")
_BATCH_SIZE = 32


class OpenModel:
    """A trained model that answers; `open_model` makes it.

    Its answers are those of the exported model: the same graph computes them. Texts that are too long are cut
    as there, and a batch may differ from another one in the last digits.

    Attributes:
      path: where the model came from.
      task_name: of the task, such as "mrpc", "custom", "race", "squad_v2", "pretraining" or "encoder".
      inputs: the names of what `predict` takes.
      labels: the classes, in their order; empty if there are none.
      tokenizer: of the model's vocabulary.
    """

    def __init__(
        self,
        path: str,
        assets: Assets,
        tokenizer: Tokenizer,
        signatures: Mapping[str, Callable[[], _Function]],
    ):
        self.path = path
        self.task_name: str = assets.task["task_name"]
        self.labels = tuple(assets.task.get("label_names", ()))
        self.tokenizer = tokenizer
        self._signatures = signatures
        self._functions: dict[str, _Function] = {}
        self.inputs = tuple(sorted(self._specs("serving_default"), key=_INPUTS.index))

    def __repr__(self) -> str:
        return f"<OpenModel {self.path}: {self.task_name}, predict({', '.join(self.inputs)})>"

    def predict(self, *texts: Any, batch_size: int = _BATCH_SIZE, **by_name: Any) -> list[Answer]:
        """Answers in the order of the texts, each with the names of the export's outputs (docs/python.md).

        The model reads texts of similar length together. A model without a task gives what `embed` gives.

        Args:
          *texts: a list for each of `inputs`, of equal lengths; one text in place of a list is a list of one.
            `options` of multiple choice are a list of texts for each question.
          batch_size: how many rows the model reads at a time; it bounds the memory.
          **by_name: the same by the names of `inputs`.

        Raises:
          InputError: an input is missing, unknown or of another kind, or the lengths differ.
        """
        takes = f"{self.path} ({self.task_name}) takes {' and '.join(self.inputs)}"
        if len(texts) > len(self.inputs):
            raise InputError(f"{takes}, not {len(texts)} inputs")
        given = dict(zip(self.inputs, texts, strict=False))
        for name in by_name:
            if name in given:
                raise InputError(f"{takes}: {name} is given twice")
            if name not in self.inputs:
                raise InputError(f"{takes}, and no {name}")
        given |= by_name
        for name in self.inputs:
            if name not in given:
                raise InputError(f"{takes}: {name} is missing")
        if self.task_name == "encoder":
            return self.embed(given["text"], batch_size=batch_size)
        return self._answers("serving_default", given, batch_size)

    def embed(
        self, texts: Any, *, with_sequence: bool = False, batch_size: int = _BATCH_SIZE
    ) -> list[Answer]:
        """Embeddings of texts by the encoder of any model, float32.

        Args:
          texts: a list of texts, or one text.
          with_sequence: whether to keep the vector of every piece, which takes memory.
          batch_size: see `predict`.

        Returns:
          For each text `mean`, the mean over its pieces, and `pooled`, the pooled output, both [H]; with
          `with_sequence` also `input_ids` [pieces] and `sequence` [pieces, H]. [CLS] and [SEP] are pieces.

        Raises:
          InputError: what is given is no text and no list of texts.
        """
        names = ("pooled", "mean", *(("sequence", "input_ids", "input_mask") if with_sequence else ()))
        return self._answers("embeddings", {"text": texts}, batch_size, names)

    def encode(
        self, texts: Any, *, dimensions: int | None = None, batch_size: int = _BATCH_SIZE
    ) -> np.ndarray:
        """The vectors of texts by a model for similarity, float32 [texts, size].

        Args:
          texts: a list of texts, or one text.
          dimensions: keep so many values of a vector, and give the rest the length 1; the model should be
            trained for it (--dimensions).
          batch_size: see `predict`.

        Raises:
          InputError: the model is of another task, or its vectors have fewer values.
        """
        self._check_similarity("encode", "embed")
        answers = self._answers("serving_default", {"text": texts}, batch_size)
        size = self._functions["serving_default"].structured_outputs["embedding"].shape[-1]  # type: ignore[attr-defined]
        vectors = np.array([answer["embedding"] for answer in answers], np.float32).reshape(-1, size)
        if dimensions is None:
            return vectors
        if not 0 < dimensions <= size:
            raise InputError(f"dimensions must be from 1 to {size}, not {dimensions}")
        vectors = vectors[:, :dimensions]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def similarity(self, one: Any, other: Any, *, batch_size: int = _BATCH_SIZE) -> np.ndarray:
        """The cosines of texts with others by a model for similarity, float32 [pairs].

        `InputError` if the model is of another task, or the lists have different lengths.
        """
        self._check_similarity("similarity", "predict")
        answers = self._answers("similarity", {"text": one, "text_pair": other}, batch_size)
        return np.array([answer["similarity"] for answer in answers], np.float32)

    def _check_similarity(self, wanted: str, instead: str) -> None:
        if self.task_name != "similarity":
            what = f"{self.path} is a model for {self.task_name}"
            raise InputError(f"{what}: {wanted} needs one for similarity; it has {instead}")

    def _specs(self, signature: str) -> Mapping[str, tf.TensorSpec]:
        if signature not in self._functions:
            self._functions[signature] = self._signatures[signature]()
        return self._functions[signature].structured_input_signature[1]  # type: ignore[attr-defined]

    def _answers(
        self, signature: str, given: Mapping[str, Any], batch_size: int, outputs: Sequence[str] = ()
    ) -> list[Answer]:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        specs = self._specs(signature)
        columns = {name: _column(name, value, specs[name].shape.rank) for name, value in given.items()}
        if len({len(column) for column in columns.values()}) > 1:
            counts = ", ".join(f"{name}: {len(column)}" for name, column in columns.items())
            raise InputError(f"the inputs have different lengths ({counts})")
        function = self._functions[signature]
        answers: dict[int, Answer] = {}
        for rows in _batches(columns, batch_size):
            inputs = {name: tf.constant([column[i] for i in rows]) for name, column in columns.items()}
            found = function(**inputs)
            arrays = {name: found[name].numpy() for name in outputs or found}
            for place, row in enumerate(rows):
                answers[row] = self._answer({name: array[place] for name, array in arrays.items()})
        return [answers[row] for row in range(len(answers))]

    def _answer(self, row: dict[str, Any]) -> Answer:
        """The answer in a row of outputs, without what other rows of the batch made wider."""
        if "input_mask" in row:
            inside = row.pop("input_mask") > 0
            row |= {name: row[name][inside] for name in ("input_ids", "sequence")}
        if "positions" in row:
            inside = row["positions"] >= 0
            row = {name: values[inside] for name, values in row.items()}
        if "word_begin" in row:
            of_words = dict.fromkeys(("words", "word_begin", "word_end", "tags"), row["word_begin"] >= 0)
            inside = row["begin"] >= 0
            row = {name: values[of_words.get(name, inside)] for name, values in row.items()}
        if "pooled" in row or "embedding" in row:
            return row
        answer = {name: _plain(value) for name, value in row.items()}
        if "labels" in answer:
            answer["labels"] = [label for label in answer["labels"] if label]
        if "label" in answer or "labels" in answer:
            answer["probabilities"] = dict(zip(self.labels, answer["probabilities"], strict=True))
        return answer


def open_model(path: str | os.PathLike[str], **settings: Any) -> OpenModel:
    """Opens a trained model, to ask it.

    Args:
      path: the folder of a run, whose best checkpoint counts; weights by path or name, as for `load_weights`,
        with config and vocabulary beside them; or an export of `export_saved_model.py`.
      **settings: arguments of `albert_tf.export.trained_model.open_trained_model`, such as
        task_name="encoder" or vocab_file="vocab.txt", and the settings of the task, such as top_k=10 or
        max_answer_length=10; an export has its own.

    Raises:
      InputError: the path holds no model, or no task that can be asked; something is missing, or does not go
        together.

    Example:

    ```python
    model = albert_tf.open_model("mrpc")
    [answer] = model.predict("He left.", "He went away.")
    answer["label"], answer["probabilities"]
    ```
    """
    path = os.fspath(path)
    if folder := find_export(path):
        if settings:
            raise InputError(f"{path} is an export, which has its own {', '.join(settings)}")
        return _open_export(folder, path)
    names = inspect.signature(open_trained_model).parameters
    of_model = {name: value for name, value in settings.items() if name in names}
    of_task = {name: value for name, value in settings.items() if name not in names}
    with open_trained_model(path, **of_model) as trained:
        try:
            signatures = serve(trained, of_task).signatures()
        except UsageError as error:
            raise InputError(str(error)) from None
        functions = {name: signature.traced for name, signature in signatures.items()}
        return OpenModel(path, trained.assets, trained.tokenizer, functions)


def _open_export(folder: str, path: str) -> OpenModel:
    assets = Assets.read(folder, path)
    tokenizer = assets.tokenizer()
    if "task_name" not in assets.task:
        raise InputError(f"{folder} has lost its assets/task.json, which names the task")
    try:
        loaded = tf.saved_model.load(folder)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from None

    def function(name: str) -> _Function:
        return loaded.signatures[name]  # which need `loaded` as long as they are called

    functions = {name: functools.partial(function, name) for name in loaded.signatures}
    return OpenModel(path, assets, tokenizer, functions)


def _column(name: str, given: Any, rank: int) -> _Column:
    """The rows of an input; `InputError` if they are not texts, or, of rank 2, not lists of texts."""
    try:
        if rank == 1:
            rows: Any = [given] if isinstance(given, str) else many_texts(given)
        else:
            rows = many_texts(given) if isinstance(given, str) else list(given)
            rows = [many_texts(row) for row in ([rows] if rows and isinstance(rows[0], str) else rows)]
    except (InputError, TypeError) as error:
        raise InputError(f"{name}: {error}") from None
    for number, row in enumerate(rows):
        if not isinstance(row, str) and not row:
            raise InputError(f"{name}: row {number} is empty")
        try:
            "".join(row).encode()
        except UnicodeEncodeError as error:
            lone = escaped(error.object[error.start])
            raise InputError(f"{name}: row {number} holds {lone}, which is half a character") from None
    return rows


def _batches(columns: Mapping[str, _Column], batch_size: int) -> Iterator[list[int]]:
    """The numbers of the rows of each batch: the longest first, and with equally many options."""
    options, counts = columns.get("options"), {}
    for row, parts in enumerate(zip(*columns.values(), strict=True)):
        counts[row] = len(options[row]) if options else 0, sum(len("".join(part)) for part in parts)
    order = sorted(counts, key=counts.__getitem__, reverse=True)
    for _, group in itertools.groupby(order, lambda row: counts[row][0]):
        rows = list(group)
        for begin in range(0, len(rows), batch_size):
            yield rows[begin : begin + batch_size]


def _plain(value: Any) -> Any:
    """Numbers, strings and lists of them, as Python has them."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value
