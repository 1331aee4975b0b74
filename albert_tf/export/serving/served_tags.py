"""Served tagging: raw texts in, their words, tags and spans out."""

import tensorflow as tf

from albert_tf.export.serving.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.serving.text_windows import TextWindows, cut, in_parts
from albert_tf.export.trained_model import TrainedModel
from albert_tf.models.encoder import INPUT_NAMES
from albert_tf.tasks.tagging.tags import tag_set_of
from albert_tf.tasks.tagging.word_features import NUM_SPECIAL, stride_of
from albert_tf.tokenization.in_graph.words_in_graph import WordFinder
from albert_tf.tokenization.words import Shape

WORD_SHAPES = "word_shapes"
_NAMES = (*INPUT_NAMES, WORD_SHAPES)
_REQUEST = {"text": ["Anna Smith went to Paris and bought three apples."]}


class ServedTagging(ServedModel):
    """Gives the spans of texts: `begin`, `end`, `type`, `score` and `span`, and all their `words` and `tags`.

    `begin` and `end` are counted in characters of the text, `word_begin` and `word_end` too. `score` is the
    probability of the least probable tag of a span. All texts of a batch get as many places for spans and for
    words as the text with the most. In an empty place numbers are -1, strings are empty, the score is 0. Tags
    without spans, such as parts of speech, give each word as a span. Bytes that are not UTF-8 become U+FFFD.

    A text may have any length: the model reads it in windows. `tokens` and `serialized_examples` also take
    `word_shapes`: the `Shape` of the word whose first piece it is, 1 if that does not matter, else 0. They
    give the `tag` of each such piece, "" for others, and its `probability`.

    Args:
      trained: a tagger.
      tag_scheme: see `TagSet`; by default the prefixes of the tags tell it.
      windows_at_once: most windows that the model reads at a time, which bounds the memory of a request.
    """

    def __init__(self, trained: TrainedModel, *, tag_scheme: str | None = None, windows_at_once: int = 16):
        super().__init__(trained)
        model = trained.model
        self._tag_set = tag_set_of(trained.task["label_names"], tag_scheme)
        self._find_words = WordFinder()
        self._windows_at_once = windows_at_once

        def predict(inputs: Tensors) -> Tensors:
            is_word = inputs[WORD_SHAPES] > 0
            tags, scores = model.tags(model(inputs, training=False)["logits"], is_word)
            return {"tag": tf.where(is_word, tags, -1), "score": scores}

        self._predict = on_inputs(predict, model, more={WORD_SHAPES: len(Shape) + 1})

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def predict_ids(**inputs: tf.Tensor) -> Tensors:
            found = self._predict(**inputs)
            names = tf.constant([*self._tag_set.names, ""])
            count = len(self._tag_set.names)
            tags = tf.gather(names, tf.where(found["tag"] < 0, count, found["tag"]))
            return {"tag": tags, "probability": found["score"]}

        text = Signature(self._tag, (strings("text"),), lambda: _REQUEST)
        return family(text, self._inputs_of, predict_ids, names=_NAMES)

    def _inputs_of(self, text: tf.Tensor) -> Tensors:
        """The model's inputs for the first window of each text."""
        windows, shapes, _ = self._cut(text)
        firsts = tf.searchsorted(windows.text_of, tf.range(tf.size(text)))
        return self._inputs(windows, shapes, firsts)[0]

    def _cut(self, text: tf.Tensor) -> tuple[TextWindows, tf.Tensor, Tensors]:
        """The windows of texts; the shape of the word that each piece begins, int32 [pieces]; the words.

        Of the words there are their places, and their first `piece`, through all texts; -1 if there is none.
        """
        pieces, begins, ends = self.text_inputs.tokenizer.tokenize_with_offsets(text)
        words = self._find_words(text)
        longest = self.text_inputs.max_seq_length
        windows = cut(pieces, tf.fill([tf.size(text)], longest - NUM_SPECIAL), stride_of(longest))
        # All texts in one row: each begins beyond the last character of the one before it.
        reach = 1 + tf.maximum(tf.reduce_max(ends.values), tf.reduce_max(words.ends))
        reach = tf.cast(tf.maximum(reach, 1), tf.int64)  # the maximum of nothing is negative
        shifts, own = (tf.cast(of, tf.int64) * reach for of in (pieces.value_rowids(), words.text_of))
        piece_begins, piece_ends = (shifts + tf.cast(ranges.values, tf.int64) for ranges in (begins, ends))
        word_begins, word_ends = (own + tf.cast(places, tf.int64) for places in (words.begins, words.ends))
        first = tf.searchsorted(piece_ends, word_begins, side="right")
        starts = tf.concat([piece_begins, [tf.int64.max]], axis=0)
        first = tf.where(tf.gather(starts, first) < word_ends, first, -1)
        is_own = (first >= 0) & (first != tf.concat([[-1], first], axis=0)[:-1])
        shapes = tf.tensor_scatter_nd_update(
            tf.zeros_like(pieces.values), first[is_own][:, None], words.shapes[is_own]
        )
        places = {"text_of": words.text_of, "word_begin": words.begins, "word_end": words.ends}
        return windows, shapes, places | {"piece": first, "is_own": is_own}

    def _inputs(
        self, windows: TextWindows, shapes: tf.Tensor, some: tf.Tensor
    ) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
        """The inputs of some windows; the pieces that they decide, and the cells of these in the windows."""
        shown = windows.shown(some)
        packed = self.text_inputs.pack([windows.ids(some)])
        window_of = shown.value_rowids()
        decides = windows.is_max_context(tf.gather(some, window_of), shown.values[:, None])[:, 0]
        decides &= tf.gather(shapes, shown.values) > 0
        place = tf.ragged.range(shown.row_lengths()).values + 1  # after [CLS]
        cells = tf.stack([window_of, place], axis=1)[decides]
        pieces = shown.values[decides]
        of_words = tf.zeros_like(packed["input_ids"])
        of_words = tf.tensor_scatter_nd_update(of_words, cells, tf.gather(shapes, pieces))
        return packed | {WORD_SHAPES: of_words}, pieces, cells

    def _tag(self, text: tf.Tensor) -> Tensors:
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        windows, shapes, words = self._cut(text)

        def decide(some: tf.Tensor) -> Tensors:
            inputs, pieces, cells = self._inputs(windows, shapes, some)
            found = self._predict(**inputs)
            return {"piece": pieces} | {name: tf.gather_nd(found[name], cells) for name in ("tag", "score")}

        order = tf.argsort(windows.lengths, direction="DESCENDING")
        columns = {"piece": tf.int32, "tag": tf.int32, "score": tf.float32}
        found = in_parts(decide, order, self._windows_at_once, columns)
        fallback = self._tag_set.fallback
        at = found["piece"][:, None]
        of_piece = tf.fill([tf.size(windows.pieces) + 1], fallback)
        of_piece = tf.tensor_scatter_nd_update(of_piece, at, found["tag"])
        scores = tf.tensor_scatter_nd_update(tf.zeros(tf.shape(of_piece)), at, found["score"])
        piece = tf.where(words["is_own"], words["piece"], tf.size(windows.pieces))
        tags, scores = tf.gather(of_piece, piece), tf.gather(scores, piece)
        return self._outputs(text, words, tags, scores)

    def _outputs(self, text: tf.Tensor, words: Tensors, tags: tf.Tensor, scores: tf.Tensor) -> Tensors:
        """Words and spans, padded to the text with the most of them."""
        text_of, begins, ends = (words[name] for name in ("text_of", "word_begin", "word_end"))
        is_first = text_of != tf.concat([[-1], text_of], axis=0)[:-1]
        spans = self._tag_set.spans(tags, is_first)
        numbers = tf.range(tf.size(tags))
        span_of = tf.searchsorted(spans.begins, numbers, side="right") - 1
        inside = numbers < tf.gather(tf.pad(spans.ends, [[1, 0]]), span_of + 1)
        lowest = tf.math.unsorted_segment_min(scores[inside], span_of[inside], tf.size(spans.begins))
        begin, end = tf.gather(begins, spans.begins), tf.gather(ends, spans.ends - 1)
        batch = tf.size(text, tf.int64)

        def rows(values: tf.Tensor, text_of: tf.Tensor, filler: int | str = -1) -> tf.Tensor:
            ragged = tf.RaggedTensor.from_value_rowids(values, tf.cast(text_of, tf.int64), batch)
            return ragged.to_tensor(tf.constant(filler, values.dtype))

        def parts(text_of: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
            cut_out = tf.strings.substr(tf.gather(text, text_of), begin, end - begin, unit="UTF8_CHAR")
            return rows(cut_out, text_of, "")

        of_span = tf.gather(text_of, spans.begins)
        kinds = tf.gather(tf.constant(self._tag_set.types), spans.types)
        return {
            "begin": rows(begin, of_span),
            "end": rows(end, of_span),
            "type": rows(kinds, of_span, ""),
            "score": rows(lowest, of_span, 0),
            "span": parts(of_span, begin, end),
            "words": parts(text_of, begins, ends),
            "word_begin": rows(begins, text_of),
            "word_end": rows(ends, text_of),
            "tags": rows(tf.gather(tf.constant(self._tag_set.names), tags), text_of, ""),
        }
