"""`TaggingTask`: a tag for each word; names are spans of words."""

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf import html_report
from albert_tf.checkpoints.run_folder import PREDICTIONS_FILE
from albert_tf.cli.text import bar_lines
from albert_tf.data.features import required
from albert_tf.errors import InputWarning, escaped
from albert_tf.html_report import Section
from albert_tf.models.classification import AlbertForTokenClassification
from albert_tf.tasks.benchmark import (
    Benchmark,
    BenchmarkTask,
    Outputs,
    Parts,
    predictions_table,
    under_one_name,
    write_files,
)
from albert_tf.tasks.overview import length_lines
from albert_tf.tasks.tagging.reading import TaggedWords, read_tagged
from albert_tf.tasks.tagging.tags import PLAIN, Spans, TagSet, most_probable, span_scores
from albert_tf.tasks.tagging.word_features import WordFeatures, word_features
from albert_tf.tasks.task import (
    Batch,
    Measures,
    Model,
    Seed,
    TrainingData,
    WeightedSum,
    correct,
    nll,
    outputs_of,
    weighted,
)
from albert_tf.tokenization.words import Shape, shapes_of

NAME = "tagging"
CONLL_FILE = "predictions.conll"

_CAPITAL = (Shape.TITLE, Shape.UPPER, Shape.MIXED)
_OFTEN, _SELDOM = 0.5, 0.25  # shares of words with capitals that make a tag depend on them


class TaggingTask(BenchmarkTask):
    """A tag for each word. Its examples are windows of sentences or documents; it is judged by spans.

    Args:
      examples, features: of each split.
      crf: whether the loss is that of a linear-chain CRF, else it is softmax cross-entropy.
      casing_feature: whether the head sees the shapes of words.
      kept: what `describe` adds to the tags.
      **kwargs: see `BenchmarkTask`.
    """

    name = head_name = eval_name = NAME
    examples_name = "windows"
    features: Mapping[str, WordFeatures]

    def __init__(
        self,
        tag_set: TagSet,
        examples: Mapping[str, TaggedWords],
        features: Mapping[str, WordFeatures],
        *,
        crf: bool = False,
        casing_feature: bool = False,
        kept: Mapping[str, Any] | None = None,
        **kwargs,
    ):
        super().__init__(features, **kwargs)
        self.tag_set = tag_set
        self.label_names = tag_set.names
        self.examples = examples
        self.crf, self.casing_feature = crf, casing_feature
        self._kept = kept or {}
        self.best_metric = "accuracy" if tag_set.scheme == PLAIN else "f1"
        self.headline = tuple(dict.fromkeys((self.best_metric, "accuracy")))
        if crf:
            self.losses, self.metrics, self.progress_metrics = ("crf_loss",), ("crf_loss",), {}

    def build_model(self, dtype: str = "float32") -> Model:
        """A fresh `AlbertForTokenClassification`; a CRF allows what the scheme of the tags allows."""
        parts = {"crf": self.crf, "casing_feature": self.casing_feature}
        tags = len(self.label_names)
        model = AlbertForTokenClassification(self.config, tags, self.dropout_prob, **parts, dtype=dtype)
        if model.chain is not None:
            model.chain.forbid(self.tag_set.legal.pairs)
        return model

    def measure(self, model: Model, batch: Batch, training: bool, dropout_seed: Seed = None) -> Measures:
        """The loss over the words that are decided in the windows of a batch; without a CRF, accuracy too."""
        logits = outputs_of(model, batch, training=training, dropout_seed=dropout_seed)["logits"]
        is_word, tags = batch["words"] > 0, batch["tags"]
        counted = tf.cast(is_word, tf.float32)
        if model.chain is not None:
            losses = model.chain.losses_of(logits, tags, is_word)
            return {"crf_loss": WeightedSum(tf.reduce_sum(losses), tf.reduce_sum(counted))}
        parts = {"cross_entropy": nll(tags, logits), "accuracy": correct(tags, logits)}
        return {name: weighted(values, counted) for name, values in parts.items()}

    def loss_weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The number of words: losses are means over them."""
        return dict.fromkeys(self.losses, tf.reduce_sum(tf.cast(batch["words"] > 0, tf.float32)))

    def outputs(self, model: Model, batch: Batch) -> dict[str, tf.Tensor]:
        """The `tag` of each word, int32, its `score`, the probability of the tag, and if known its `loss`.

        `example_index` is the number of the word. All are `[positions]`; positions that decide no word have
        the index -1.
        """
        logits = outputs_of(model, batch, training=False)["logits"]
        is_filler = batch["example_index"][:, None] < 0  # it only fills the batch
        words = tf.where(is_filler, 0, batch["words"])
        is_word = words > 0
        tags, scores = model.tags(logits, is_word)
        outputs = {"tag": tags, "score": scores, "example_index": words - 1}
        if self.is_voting:
            outputs["chances"] = model.chances(logits, is_word)
        if "tags" in batch:
            if model.chain is None:
                losses = nll(batch["tags"], logits)
            else:  # the loss of a chain, in equal shares
                count = tf.reduce_sum(tf.cast(is_word, tf.float32), axis=1, keepdims=True)
                chains = model.chain.losses_of(logits, batch["tags"], is_word)[:, None]
                losses = tf.math.divide_no_nan(chains, count) + tf.zeros_like(scores)
            outputs["loss"] = tf.where(is_word, tf.maximum(losses, 0.0), 0.0)  # rounding makes less of 0
        return {name: tf.reshape(values, [-1, *values.shape[2:]]) for name, values in outputs.items()}

    def predicted(self, split: str) -> tuple[int, str]:
        """See `BenchmarkTask`; the words that the model can see."""
        return len(self.features[split].decided), "words"

    def votes(self, split: str, outputs: Outputs) -> np.ndarray:
        """See `BenchmarkTask`: the probabilities of the tags of all words; NaN for those without a piece."""
        chances = np.full([len(self.examples[split].words.begins), len(self.label_names)], np.nan)
        chances[self.features[split].decided] = outputs["chances"]
        return chances

    def averaged(self, split: str, votes: Sequence[np.ndarray]) -> Outputs:
        """See `BenchmarkTask`; each word gets the tag of the highest mean probability, also with a CRF."""
        return most_probable(votes, self.examples[split].tags)

    def tags_of(self, split: str, outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
        """The tag and its probability for every word of a split.

        Words without a piece of their own get the fallback, and 0.
        """
        decided = outputs.get("decided", self.features[split].decided)
        count = len(self.examples[split].words.begins)
        tags, scores = np.full(count, self.tag_set.fallback, np.int32), np.zeros(count, np.float32)
        tags[decided], scores[decided] = outputs["tag"], outputs["score"]
        return tags, scores

    def spans_of(self, split: str, tags: np.ndarray) -> Spans:
        """The spans that tags of a split mark."""
        return self.tag_set.spans(tf.constant(tags), tf.constant(self.examples[split].is_first))

    def results_by_part(self, split: str, outputs: Outputs) -> Parts:
        """Precision, recall and F1 of spans, of all and of each type; accuracy and loss over the words."""
        tags, _ = self.tags_of(split, outputs)
        rows = self._results(split, tags)
        losses = outputs["loss"].astype(np.float64)
        next(iter(rows.values()))["eval_loss"] = float(losses.mean()) if len(losses) else 0.0
        return rows

    def _results(self, split: str, tags: np.ndarray) -> Parts:
        gold = required(self.examples[split].tags)
        accuracy = {"accuracy": float(np.mean(tags == gold))}
        if self.tag_set.scheme == PLAIN:
            return {"": accuracy}
        right, found = (self.spans_of(split, each) for each in (gold, tags))
        rows = span_scores(right, found, self.tag_set.types)
        rows["all"] |= accuracy
        return rows

    def reported_metrics(self) -> tuple[str, ...]:
        """See `BenchmarkTask`."""
        if "dev" not in self.examples:
            return ()
        return (*under_one_name(self._results("dev", required(self.examples["dev"].tags))), "eval_loss")

    def baseline(self, split: str) -> tuple[str, Parts]:
        """The results if all words get the commonest tag."""
        gold = required(self.examples[split].tags)
        commonest = int(np.bincount(gold).argmax())
        rows = self._results(split, np.full_like(gold, commonest))
        name, row = next(iter(rows.items()))
        return f"always {escaped(self.label_names[commonest])}", {name: row}

    def only_answer(self, split: str, outputs: Outputs) -> str:
        """Says that all words of a split got the same tag."""
        tags, _ = self.tags_of(split, outputs)
        same = len(tags) > 1 and (tags == tags[0]).all()
        return f"all {len(tags):,} words are predicted {escaped(self.label_names[tags[0]])}" if same else ""

    def has_labels(self, split: str) -> bool:
        """See `BenchmarkTask`."""
        return self.features[split].tags is not None

    def write_predictions(self, folder: str, outputs: Outputs) -> list[str]:
        """Writes `predictions.conll` and `predictions.tsv`.

        The first has a word a line, its tag in the file if there is one, and its predicted tag, between tabs,
        and a blank line behind each sentence. The second has a line for each predicted span: the number of
        its sentence, the characters from `begin` to before `end`, its type, the probability of its least
        probable tag, and its text. Tags without spans give a line for each word.
        """
        examples = self.examples["test"]
        tags, scores = self.tags_of("test", outputs)
        columns = [tags] if examples.tags is None else [examples.tags, tags]
        words = map(examples.word, range(len(tags)))
        ends = np.append(examples.is_first[1:], True).tolist()
        conll = (
            "\t".join((word, *map(self.label_names.__getitem__, row))) + "\n" * (1 + end)
            for word, end, *row in zip(words, ends, *(column.tolist() for column in columns), strict=True)
        )
        spans = [np.asarray(values) for values in self.spans_of("test", tags)]
        table = predictions_table(self._span_columns(examples, Spans(*spans), scores))
        return write_files(folder, {CONLL_FILE: conll, PREDICTIONS_FILE: table})

    def _span_columns(self, examples: TaggedWords, spans: Spans, scores: np.ndarray) -> dict[str, Any]:
        words, last = examples.words, spans.ends - 1
        sentences = examples.sentence_of[spans.begins]
        starts = words.begins[np.flatnonzero(examples.is_first)] * (len(examples.texts) < len(examples))
        begins, ends = words.begins[spans.begins], words.ends[last]
        texts = [examples.texts[text] for text in words.text_of[spans.begins].tolist()]
        return {
            "id": sentences.tolist(),
            "begin": (begins - starts[sentences]).tolist(),
            "end": (ends - starts[sentences]).tolist(),
            "type": [self.tag_set.types[kind] for kind in spans.types.tolist()],
            "score": np.array([scores[b:e].min() for b, e in zip(spans.begins, spans.ends, strict=True)]),
            "text": [text[b:e] for text, b, e in zip(texts, begins.tolist(), ends.tolist(), strict=True)],
        }

    def report_sections(self, outputs: Outputs) -> list[Section]:
        """For tags without spans precision, recall and confusions; the worst sentences."""
        examples = self.examples["dev"]
        gold, (tags, _) = required(examples.tags), self.tags_of("dev", outputs)
        worst = html_report.tagged_sentences(self._sentences("dev", gold, tags))
        if self.tag_set.scheme != PLAIN:
            return [worst]
        names = self.label_names
        classes = html_report.precision_and_recall(gold, tags, names)
        return [classes, html_report.confusion_matrix(gold, tags, names), worst]

    def _sentences(self, split: str, gold: np.ndarray, tags: np.ndarray) -> list[html_report.TaggedExample]:
        """The sentences of a split with their spans; of tags without spans, those of words that are wrong."""
        examples = self.examples[split]
        firsts = np.append(np.flatnonzero(examples.is_first), len(gold))
        begins, ends = examples.words.begins, examples.words.ends
        of_sentence: list[list[list[tuple[int, int, str]]]] = [[[], []] for _ in range(len(examples))]
        for which, each in enumerate((gold, tags)):
            for first, end, kind in zip(*map(np.asarray, self.spans_of(split, each)), strict=True):
                sentence = examples.sentence_of[first]
                if self.tag_set.scheme == PLAIN and gold[first] == tags[first]:
                    continue
                start = begins[firsts[sentence]]
                span = int(begins[first] - start), int(ends[end - 1] - start), self.tag_set.types[kind]
                of_sentence[sentence][which].append(span)
        texts = (
            examples.texts[examples.words.text_of[a]][begins[a] : ends[b - 1]]
            for a, b in itertools.pairwise(firsts)
        )
        return [
            html_report.TaggedExample(text, *spans) for text, spans in zip(texts, of_sentence, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """See `BenchmarkTask`; and the scheme of the tags, the loss, and how files are read."""
        parts = {"loss": "crf" if self.crf else "softmax", "casing_feature": self.casing_feature}
        return {**super().describe(), "tag_scheme": self.tag_set.scheme, **parts, **self._kept}

    def training_settings(self) -> dict[str, Any]:
        """See `BenchmarkTask`."""
        parts = {"loss": "crf" if self.crf else "softmax", "casing_feature": self.casing_feature}
        return super().training_settings() | parts

    def training_data(self) -> TrainingData:
        """The windows to train on, and the words in them."""
        data = super().training_data()
        return data._replace(described=f"{self._size('train')} in {data.described}")

    def eval_described(self) -> str:
        """The words of the dev split."""
        return f"{self._size('dev')} in {super().eval_described()}"

    def _size(self, split: str) -> str:
        examples = self.examples[split]
        return f"{len(examples.words.begins):,} words of {len(examples):,} sentences"

    def _digest(self, split: str) -> str:
        return self.examples[split].digest[:16]

    def overview(self) -> str:
        """How many words each split has, how often each type or tag occurs, and lengths."""
        lines = []
        for split, examples in self.examples.items():
            lines.append(f"{split}: {self._size(split)}, scheme of the tags: {self.tag_set.scheme}")
            if examples.tags is not None:
                kinds = np.asarray(self.spans_of(split, examples.tags).types)
                counts = np.bincount(kinds, minlength=len(self.tag_set.types))
                counted = "words" if self.tag_set.scheme == PLAIN else "spans"
                lines += bar_lines("tag", counted, zip(self.tag_set.types, counts.tolist(), strict=True))
            features = self.features[split]
            cut = len(features) - len(examples.texts)
            lines += ["", *length_lines("windows", features.lengths, self.max_seq_length)]
            lines += [f"  {cut:,} windows more than texts, which are seen in parts"] * bool(cut) + [""]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggingBenchmark(Benchmark[TaggedWords]):
    """Files of tagged words, by split; `read_tagged` and `TaggingTask` say more of the attributes.

    Attributes:
      tag_set: that of the weights; None to learn the tags from the train split.
      names: the tags in the user's order, if they are learned.
    """

    files: Mapping[str, str | None]
    tag_set: TagSet | None = None
    names: Sequence[str] = ()
    tag_column: int | None = None
    context: str = "sentence"
    crf: bool = False
    casing_feature: bool = False
    features_class = WordFeatures
    features = staticmethod(word_features)

    @property
    def eval_file(self) -> str | None:
        """The file of the split "dev"."""
        return self.files.get("dev")

    def read(self, splits: Sequence[str]) -> dict[str, TaggedWords]:
        """See `read_tagged`; the train split, or else the weights, tell the tags of the others."""
        examples: dict[str, TaggedWords] = {}
        tag_set = self.tag_set
        for split in splits:
            examples[split] = read_tagged(
                self.files[split] or "",
                tag_set,
                tag_column=self.tag_column,
                context=self.context,
                may_lack_tags=split == "test",
                names=self.names,
            )
            tag_set = examples[split].tag_set
        return examples

    def task_name(self, examples: Mapping[str, TaggedWords]) -> str:
        """Always "tagging"."""
        return NAME

    def task(
        self, examples: Mapping[str, TaggedWords], features: Mapping[str, WordFeatures], **arguments: Any
    ) -> TaggingTask:
        """See `TaggingTask`. Warns of words and of capitals that the model does not see."""
        for split, some in examples.items():
            unseen = len(some.words.begins) - len(features[split].decided)
            if unseen:
                seen = np.isin(np.arange(len(some.words.begins)), features[split].decided)
                shown, tag = some.word(int(np.argmin(seen))), some.tag_set.names[some.tag_set.fallback]
                text = f"{unseen:,} words have no piece of their own, such as {shown!a}: they get {tag}"
                warnings.warn(f"{split} split: {text}", InputWarning, stacklevel=2)
        if "train" in examples and arguments.get("do_lower_case") and not self.casing_feature:
            _warn_of_capitals(examples["train"])
        tag_set = next(iter(examples.values())).tag_set
        kept: dict[str, Any] = {"context": self.context}
        if self.tag_column is not None:
            kept["tag_column"] = self.tag_column
        parts = {"crf": self.crf, "casing_feature": self.casing_feature}
        return TaggingTask(tag_set, examples, features, **parts, kept=kept, **arguments)


def _warn_of_capitals(examples: TaggedWords) -> None:
    """Warns if capitals tell tags apart, but text is lower-cased."""
    has_capital = np.isin(shapes_of(examples.texts, examples.words), _CAPITAL)
    kinds = examples.tag_set.type_of[required(examples.tags)] + 1
    counts = np.bincount(kinds)
    shares = np.bincount(kinds, has_capital) / np.maximum(counts, 1)
    others = shares[counts.argmax()]
    depend = shares >= _OFTEN
    if others <= _SELDOM and depend.any():
        share = np.average(shares[depend], weights=counts[depend])
        text = (
            f"text is lower-cased, but {share:.0%} of the words of {int(depend.sum())} kinds of tags have "
            f"capitals, and {others:.0%} of the commonest kind: --casing_feature or a cased vocabulary shows "
            "them to the model"
        )
        warnings.warn(text, InputWarning, stacklevel=3)
