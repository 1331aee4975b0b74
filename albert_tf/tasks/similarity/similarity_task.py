"""`SimilarityTask`: vectors of texts, trained by pairs, triples or single texts; `SimilarityBenchmark`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.preprocessing import normalize

from albert_tf import html_report
from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE
from albert_tf.data.features import Features, text_features
from albert_tf.data.tables import has_column
from albert_tf.errors import InputError
from albert_tf.html_report import Section
from albert_tf.models.encoder import INPUT_NAMES
from albert_tf.models.sentence_embedding import AlbertForSentenceEmbedding, mean_over_pieces
from albert_tf.tasks.benchmark import (
    Benchmark,
    BenchmarkTask,
    Outputs,
    Parts,
    predictions_table,
    write_files,
)
from albert_tf.tasks.overview import length_lines
from albert_tf.tasks.similarity.judging import (
    collapse,
    judge,
    main_result,
    pair_cosines,
    spread,
    tf_idf,
)
from albert_tf.tasks.similarity.objectives import contrastive_losses, cosines, fingerprints, likeness
from albert_tf.tasks.similarity.reading import TextGroups, read_file, read_glue, with_retrieval
from albert_tf.tasks.task import Batch, Measures, Model, OverParts, Seed, WeightedSum, mean
from albert_tf.tokenization import Tokenizer

NAME = "similarity"
_GRADIENT, _LOSS, _FOUND = "vector_gradient", "example_loss", "example_found"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """How vectors are made and trained.

    Attributes:
      pooling, projection_size, normalize: see `AlbertForSentenceEmbedding`.
      objective: one of `OBJECTIVES`; None if nothing is trained.
      dimensions: how many values of a vector are a vector of their own, the most first; the whole vector is
        one, too.
      temperature: divides the cosines of contrastive training.
    """

    pooling: str = "mean"
    projection_size: int | None = None
    normalize: bool = True
    objective: str | None = None
    dimensions: tuple[int, ...] = ()
    temperature: float = 0.05


def chosen_vectors(kept: Mapping[str, Any], given: Mapping[str, Any], **training: Any) -> Vectors:
    """The vectors that flags describe; what they leave open (None), weights of this task decide.

    `kept` is what the weights say of their task; `training` are the other attributes. `InputError` if a flag
    contradicts the weights.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if kept.get("task_name") == NAME:
        for name, value in chosen.items():
            if name in kept and kept[name] != value:
                raise InputError(f"--{name}={value}: the weights were trained with {kept[name]}".lower())
        chosen = {name: kept[name] for name in given if name in kept} | chosen
        training["dimensions"] = training["dimensions"] or tuple(kept.get("dimensions", ()))
    return Vectors(**chosen, **training)


class SimilarityTask(BenchmarkTask):
    """Vectors of texts, of which near ones mean similar texts.

    The features of the train split hold the texts of each example side by side; those of the other splits
    hold each text once.

    Args:
      vectors: how vectors are made and trained.
      examples, features: of each split.
      **kwargs: see `BenchmarkTask`.
    """

    name = head_name = eval_name = NAME
    label_names = ()
    compares_with_start = True

    def __init__(
        self, vectors: Vectors, examples: Mapping[str, TextGroups], features: Mapping[str, Features], **kwargs
    ):
        super().__init__(features, **kwargs)
        self.vectors = vectors
        self.examples = examples
        size = vectors.projection_size or self.config.hidden_size
        if wrong := [number for number in vectors.dimensions if not 0 < number <= size]:
            raise InputError(f"--dimensions: {wrong[0]} is not from 1 to {size}, the size of the vectors")
        self.sizes = sorted({size, *vectors.dimensions}, reverse=True)
        self._baselines: dict[str, Parts] = {}
        self._is_coupled = vectors.objective in ("contrastive", "unsupervised")
        loss = "contrastive_loss" if self._is_coupled else "cosine_loss"
        self.losses, self.progress_metrics = (loss,), {}
        self.metrics = (loss, *["found"] * self._is_coupled, "anisotropy")
        rates = self.config.hidden_dropout_prob, self.config.attention_probs_dropout_prob, self.dropout_prob
        if vectors.objective == "unsupervised" and not any(rates):
            raise InputError(
                "--objective=unsupervised needs dropout, which tells two readings of a text apart, and the "
                "config has none: give --encoder_dropout_prob=0.1"
            )
        names = self.reported_metrics()
        self.best_metric = main_result(dict.fromkeys(names, 0.0)) if names else "spearman"
        self.headline = tuple(name for name in ("spearman", "mrr", "anisotropy") if name in names)

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForSentenceEmbedding`."""
        made = self.vectors
        parts = (made.pooling, made.projection_size, made.normalize, self.dropout_prob)
        return AlbertForSentenceEmbedding(self.config, *parts, dtype=dtype)

    def _embed(self, model: Model, batch: Batch, seed: Seed, training: bool = True) -> tf.Tensor:
        """Vectors of all texts, float32 `[examples, texts, size]`."""
        inputs = self._grouped(batch)
        shape = tf.shape(inputs["input_ids"])
        flat = {name: tf.reshape(values, [-1, shape[2]]) for name, values in inputs.items()}
        vectors = model(flat, training=training, dropout_seed=seed)["embedding"]
        return tf.reshape(vectors, [shape[0], inputs["input_ids"].shape[1], model.size])

    def _grouped(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The inputs `[examples, texts, length]`; a single text is there twice, for two dropouts."""
        inputs = {name: batch[name] for name in INPUT_NAMES}
        if self.vectors.objective != "unsupervised":
            return inputs
        return {name: tf.stack([values, values], axis=1) for name, values in inputs.items()}

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """The loss over the examples of a batch, and how alike their first texts are.

        A contrastive loss compares with the examples of all devices.
        """
        vectors = self._embed(model, batch, dropout_seed, training)
        texts = self._texts(batch)
        measured = {"anisotropy": WeightedSum(*likeness(tf.stop_gradient(vectors[:, 0]), texts[:, 0]))}
        [loss] = self.losses
        if not self._is_coupled:
            off = [(cosines(vectors[:, 0], vectors[:, 1], n) - batch["label_ids"]) ** 2 for n in self.sizes]
            return measured | {loss: mean(tf.add_n(off) / len(self.sizes))}
        if _GRADIENT in batch:  # of the loss of the whole batch, by these vectors
            losses, found = mean(batch[_LOSS]), mean(batch[_FOUND])
            pull = tf.reduce_sum(vectors * batch[_GRADIENT])
        else:
            pull, of_each, was_found = self._whole_loss(vectors, texts)
            losses, found = mean(tf.stop_gradient(of_each)), mean(was_found)
        # Its value is that of the examples here, its gradient that of the whole batch.
        total = losses.total + pull - tf.stop_gradient(pull)
        return measured | {loss: losses._replace(total=total), "found": found}

    def _texts(self, batch: Batch) -> tf.Tensor:
        inputs = self._grouped(batch)
        return fingerprints(inputs["input_ids"], inputs["input_mask"])

    def _whole_loss(self, vectors: tf.Tensor, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The sum of the losses of all devices; the losses of the examples here, and if they were found."""
        replica = tf.distribute.get_replica_context()
        first, count = 0, tf.shape(vectors)[0]
        if replica.num_replicas_in_sync > 1:
            first = replica.replica_id_in_sync_group * count
            gathered = replica.all_gather(tf.stop_gradient(vectors), axis=0)
            texts = replica.all_gather(texts, axis=0)
            vectors = tf.concat([gathered[:first], vectors, gathered[first + count :]], axis=0)
        rows = [contrastive_losses(vectors, texts, n, self.vectors.temperature) for n in self.sizes]
        losses = tf.add_n([losses for losses, _ in rows]) / len(rows)
        here = slice(first, first + count)
        return tf.reduce_sum(losses), losses[here], rows[0][1][here]

    def before_parts(self, model: Model, batch: Batch, over_parts: OverParts) -> Batch:
        """Adds the gradient of the whole batch's loss by its vectors, which the parts then make again.

        So the loss is that of the large batch, in the memory of a part (gradient caching, Gao et al. 2021).
        """
        if not self._is_coupled:
            return batch
        vectors = over_parts(lambda part, seed: self._embed(model, part, seed))
        texts = self._texts(batch)
        vectors = tf.ensure_shape(vectors, [None, texts.shape[1], model.size])
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            total, losses, found = self._whole_loss(vectors, texts)
        return {**batch, _GRADIENT: tape.gradient(total, vectors), _LOSS: losses, _FOUND: found}

    def failure(self, results: Mapping[str, Any]) -> str:
        """Says if all texts get the same vector."""
        return collapse(float(results["anisotropy"]))

    def outputs(self, model: Model, batch: Batch) -> dict[str, tf.Tensor]:
        """The vector of each text, and the mean of the word embeddings of its pieces; `example_index`."""
        vectors = model({name: batch[name] for name in INPUT_NAMES}, training=False)["embedding"]
        # [CLS] and [SEP] are no words; a text of no pieces has the vector 0.
        ids, mask = batch["input_ids"], batch["input_mask"]
        is_word = tf.pad(mask[:, 2:], [[0, 0], [1, 1]])
        words = mean_over_pieces(tf.gather(model.encoder.embeddings.word_embeddings, ids), is_word)
        return {"vectors": vectors, "words": words, "example_index": batch["example_index"]}

    def predicted(self, split: str) -> tuple[int, str]:
        """See `BenchmarkTask`; each text once."""
        return len(self.examples[split].texts), "texts"

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """See `judge` and `spread`; results of smaller vectors end with their size."""
        groups = self.examples[split]
        self._baselines.setdefault(split, {})["word_vectors"] = judge(groups, outputs["words"])
        return {"": self._results(groups, outputs["vectors"])}

    def _results(self, groups: TextGroups, vectors: np.ndarray) -> dict[str, float]:
        results = judge(groups, vectors) | spread(groups, vectors)
        for size in self.sizes[1:]:
            results |= {f"{n}_{size}": value for n, value in judge(groups, vectors[:, :size]).items()}
        return results

    def baseline(self, split: str) -> tuple[str, Parts]:
        """TF-IDF; if the model has run, the mean of its word embeddings, and itself before the training."""
        groups, known = self.examples[split], self._baselines.setdefault(split, {})
        if "TF-IDF" not in known:
            known["TF-IDF"] = judge(groups, tf_idf(groups.texts))
        rows: Parts = {name: known[name] for name in ("TF-IDF", "word_vectors") if name in known}
        if split == "dev" and self.start:
            rows["before_training"] = {name: self.start[name] for name in self.reported_metrics()}
        return "baseline", rows

    def reported_metrics(self) -> tuple[str, ...]:
        """See `BenchmarkTask`."""
        if "dev" not in self.examples:
            return ()
        groups = self.examples["dev"]
        if asked := groups.retrieval:  # one query tells the names
            asked = dataclasses.replace(asked, queries=asked.queries[:1], relevant=asked.relevant[:1])
            groups = dataclasses.replace(groups, retrieval=asked)
        return tuple(self._results(groups, np.ones([len(groups.texts), 1], np.float32)))

    def only_answer(self, split: str, outputs: Outputs) -> str:
        """Says that all texts of a split got the same vector."""
        return collapse(spread(self.examples[split], outputs["vectors"]).get("anisotropy", 0.0))

    def has_labels(self, split: str) -> bool:
        """See `BenchmarkTask`."""
        return self.examples[split].scores is not None

    def _cosines(self, split: str, outputs: Outputs) -> np.ndarray:
        return pair_cosines(self.examples[split], normalize(outputs["vectors"]))

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes `predictions.tsv`: the number or name of each pair, and its cosine."""
        groups = self.examples["test"]
        columns = {"id": groups.names or [str(number) for number in range(len(groups))]}
        table = predictions_table(columns | {"cosine": self._cosines("test", outputs)})
        return write_files(folder, {PREDICTIONS_FILE: table})

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """Cosines over scores, and the pairs that are furthest from their score."""
        groups = self.examples["dev"]
        if groups.scores is None or not len(groups):
            return []
        found = self._cosines("dev", outputs)
        texts = {"first text": groups.column(0), "second text": groups.column(1)}
        return [
            html_report.scatter(groups.scores, found),
            html_report.largest_errors(groups.scores, found, texts),
        ]

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and how vectors are made and were trained."""
        made = dataclasses.asdict(self.vectors)
        kept = {name: made[name] for name in ("pooling", "projection_size", "normalize", "objective")}
        return super().describe() | kept | {"dimensions": list(self.vectors.dimensions)}

    def training_settings(self) -> dict[str, Any]:
        """See `BenchmarkTask`."""
        made = dataclasses.asdict(self.vectors)
        return super().training_settings() | made | {"dimensions": list(self.vectors.dimensions)}

    def _digest(self, split: str) -> str:
        return self.examples[split].digest[:16]

    def overview(self) -> str:
        """How many examples and texts each split has, and how long texts are."""
        lines = []
        for split, groups in self.examples.items():
            kind = ("texts", "pairs", "triples")[groups.groups.shape[1] - 1]
            lines.append(f"{split}: {len(groups):,} {kind}, {len(groups.texts):,} different texts")
            if groups.retrieval is not None:
                asked = groups.retrieval
                lines.append(f"  {len(asked.queries):,} queries search {len(asked.corpus):,} texts")
            lengths = self.features[split].full_lengths
            lines += [*length_lines("texts", lengths, self.max_seq_length), ""]
        return "\n".join(lines)


def group_features(
    tokenizer: Tokenizer, examples: TextGroups, max_seq_length: int, side_by_side: bool
) -> Features:
    """[CLS] text [SEP] of each text of each example side by side, or of each different text once."""
    if not side_by_side:
        return text_features(tokenizer, (examples.texts,), None, max_seq_length)
    texts = [examples.texts[number] for number in examples.groups.ravel().tolist()]
    made = text_features(tokenizer, (texts,), examples.scores, max_seq_length)
    return dataclasses.replace(made, num_choices=examples.groups.shape[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarityBenchmark(Benchmark[TextGroups]):
    """Where the texts come from: for each split a task of GLUE, or a file.

    Attributes:
      tasks, files: by split; one of them is None.
      columns: of the texts in the files, by split.
      vectors: how vectors are made and trained.
      data_dir: of GLUE's folders.
      score_column, score_range: of the files; see `read_file`.
      corpus_file, queries_file: what the dev split searches, too; see `with_retrieval`.
    """

    tasks: Mapping[str, str | None]
    files: Mapping[str, str | None]
    columns: Mapping[str, Sequence[str]]
    vectors: Vectors
    data_dir: str | None = None
    score_column: str = "score"
    score_range: tuple[float, float] = (0.0, 5.0)
    corpus_file: str | None = None
    queries_file: str | None = None
    features = staticmethod(group_features)

    @property
    def eval_file(self) -> str | None:
        """The file of the split "dev"."""
        return self.files["dev"]

    def read(self, splits: Sequence[str]) -> dict[str, TextGroups]:
        """See `read_glue`, `read_file` and `with_retrieval`."""
        return {split: self._read(split) for split in splits}

    def _read(self, split: str) -> TextGroups:
        objective = self.vectors.objective if split == "train" else None
        task, path, found = self.tasks[split], self.files[split], None
        if path:
            needs_score = objective == "cosine" or split == "dev"
            found = read_file(
                path,
                self.columns[split],
                objective=objective,
                score_column=self.score_column if needs_score or self._has_scores(split) else None,
                score_range=self.score_range,
            )
        elif task:
            found = read_glue(task, self.data_dir or "", split, objective)
        if split == "dev" and self.corpus_file and self.queries_file:
            found = with_retrieval(found, self.corpus_file, self.queries_file)
        if found is None:
            raise ValueError(f"the {split} split has neither a task nor a file")
        return found

    def _has_scores(self, split: str) -> bool:
        return split == "test" and has_column(self.files[split] or "", self.score_column)

    def task_name(self, examples: Mapping[str, TextGroups]) -> str:
        """Always "similarity"."""
        return NAME

    def settings(self, split: str, max_seq_length: int) -> dict[str, Any]:
        """See `group_features`."""
        return {"max_seq_length": max_seq_length, "side_by_side": split == "train"}

    def task(
        self, examples: Mapping[str, TextGroups], features: Mapping[str, Features], **arguments: Any
    ) -> SimilarityTask:
        """See `SimilarityTask`."""
        return SimilarityTask(self.vectors, examples, features, **arguments)
