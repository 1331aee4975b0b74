"""Questions and contexts as windows of ids, with the place of each piece in its context."""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from albert_tf.cli.settings import SquadSettings
from albert_tf.data.features import Features, encode_column, join
from albert_tf.data.windows import Windows, cut
from albert_tf.errors import InputError
from albert_tf.tasks.squad.reading import SquadQuestions
from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.parallel import encode_with_offsets_in_parallel
from albert_tf.tokenization.sequences import Spans, concatenated

NUM_SPECIAL = 3  # [CLS] question [SEP] context [SEP]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WindowFeatures(Features):
    """Windows of contexts, each behind its question; the windows of a question follow one another.

    `labels`, in training, are int32 [windows, 3]: the positions of the answer's first and last piece, and
    whether the window lacks the answer. If it does, both positions are 0, the position of [CLS].

    Attributes:
      question_of: int32 [windows].
      window_starts: int32 [windows]. The number of the window's first piece in its context.
      begins, ends: int32 [tokens]. The characters of the context that a piece of it stands for; 0 for other
        tokens. None in training.
    """

    question_of: np.ndarray
    window_starts: np.ndarray
    begins: np.ndarray | None
    ends: np.ndarray | None

    TOKEN_COLUMNS: ClassVar[tuple[str, ...]] = (*Features.TOKEN_COLUMNS, "begins", "ends")
    EXAMPLE_COLUMNS: ClassVar[tuple[str, ...]] = (*Features.EXAMPLE_COLUMNS, "question_of", "window_starts")

    @functools.cached_property
    def windows(self) -> Windows:
        """The windows; the text of a window is that of its question."""
        return Windows(self.question_of, self.window_starts, self.lengths - self.first_lengths - 1)


def check_lengths(max_seq_length: int, max_query_length: int) -> None:
    """InputError if a long question would leave no room for the context."""
    if max_seq_length <= max_query_length + NUM_SPECIAL:
        flags = f"--max_query_length {max_query_length} leaves no room for the context in --max_seq_length"
        least = max_query_length + NUM_SPECIAL + 1
        raise InputError(f"{flags} {max_seq_length}: at least {least} is needed")


def window_features(
    tokenizer: Tokenizer,
    questions: SquadQuestions,
    *,
    max_seq_length: int,
    doc_stride: int = SquadSettings.doc_stride,
    max_query_length: int = SquadSettings.max_query_length,
    training: bool,
) -> WindowFeatures:
    """[CLS] question [SEP] window [SEP] for as many windows as a context needs.

    The first `max_query_length` pieces of a question stay. Windows begin `doc_stride` pieces apart, or as far
    as a window reaches if that is less. In training the windows have labels, and `answer_starts` must fit;
    else they have what decoding needs.
    """
    check_lengths(max_seq_length, max_query_length)
    asked = encode_column(tokenizer, questions.questions, "tokenizing questions")
    asked = asked.first(np.minimum(asked.lengths, max_query_length))
    encoded = encode_with_offsets_in_parallel(tokenizer, questions.contexts, "tokenizing contexts")
    contexts = Spans.end_to_end(encoded.ids, encoded.lengths)

    sizes = contexts.lengths[questions.context_of]
    room = max_seq_length - NUM_SPECIAL - asked.lengths
    question_of, window_starts, window_lengths = cut(sizes, room, doc_stride)
    windows = contexts.take(questions.context_of[question_of])
    windows = windows._replace(starts=windows.starts + window_starts, lengths=window_lengths)
    asked_by = asked.take(question_of)
    full_lengths = asked_by.lengths + sizes[question_of] + NUM_SPECIAL
    features = join(tokenizer, [asked_by, windows], full_lengths=full_lengths, labels=None)
    columns = {field.name: getattr(features, field.name) for field in dataclasses.fields(Features)}
    begins = ends = None
    if training:
        first, last = _answer_pieces(questions, contexts, encoded.begins, encoded.ends)
        positions = np.stack([first, last], axis=1)[question_of] - window_starts[:, None]
        without = questions.is_impossible[question_of]
        without |= (positions[:, 0] < 0) | (positions[:, 1] >= window_lengths)
        positions = np.where(without[:, None], 0, positions + asked_by.lengths[:, None] + 2)
        columns["labels"] = np.column_stack([positions, without]).astype(np.int32)
    else:
        tokens = np.arange(len(features.input_ids))
        cells = concatenated(tokens, features.starts + features.first_lengths, window_lengths)
        begins, ends = np.zeros((2, len(features.input_ids)), np.int32)
        begins[cells] = concatenated(encoded.begins, windows.starts, window_lengths)
        ends[cells] = concatenated(encoded.ends, windows.starts, window_lengths)
    return WindowFeatures(
        **columns,
        question_of=question_of,
        window_starts=window_starts.astype(np.int32),
        begins=begins,
        ends=ends,
    )


def _answer_pieces(
    questions: SquadQuestions, contexts: Spans, begins: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """int64 [questions] twice: numbers, in the context, of the first and last piece of the first answer."""
    texts = [answers[0] if answers else "" for answers in questions.answers]
    starts = np.array([at[0] if at else 0 for at in questions.answer_starts], np.int64)
    stops = starts + np.fromiter(map(len, texts), np.int64, len(texts))
    # All contexts in one row: each begins beyond the last character of the one before it.
    reach = 1 + max(map(len, questions.contexts), default=0)
    shifts = np.repeat(np.arange(len(contexts.lengths)), contexts.lengths) * reach
    own = questions.context_of.astype(np.int64)
    first = np.searchsorted(ends + shifts, starts + own * reach, side="right")
    last = np.searchsorted(begins + shifts, stops + own * reach, side="left") - 1
    bounds = contexts.starts[own], contexts.starts[own] + np.maximum(contexts.lengths[own] - 1, 0)
    first = np.clip(first, *bounds)
    last = np.clip(last, first, bounds[1])
    return first - bounds[0], last - bounds[0]
