"""Raw text into the TFRecords of pretraining: python -m data_prep.create_pretraining_data --help."""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from albert_tf import flags, records
from albert_tf.errors import InputError
from albert_tf.files import matching_files
from albert_tf.progress import progress_bar
from albert_tf.script import script
from albert_tf.tokenization import Tokenizer, load_tokenizer
from data_prep.corpus import Corpus, read_corpus
from data_prep.examples import make_examples, make_unmasked_examples
from data_prep.masking import MaskingOptions
from data_prep.segments import SPECIAL_PIECES, Pairs, SegmentOptions, plan_pairs

_BATCH_PIECES = 1 << 18  # pieces, padding included, that are masked and written together


@dataclasses.dataclass(frozen=True)
class Options(MaskingOptions, SegmentOptions):
    """Makes TFRecords of sentence order and masked word prediction from raw text.

    The text has one sentence (or other unit) a line and a blank line between documents. A run with the same
    flags and input writes the same bytes. Example:

      python -m data_prep.create_pretraining_data --input_file='text/*.txt' --output_file=train.tfrecord \\
        --spm_model_file=vocab.model
    """

    input_file: tuple[str, ...] = flags.option(help="text files, UTF-8: names and globs")
    output_file: tuple[str, ...] = flags.option(
        help="TFRecord files; examples are dealt out over them in turn"
    )
    spm_model_file: str | None = flags.option(None, help="SentencePiece model")
    vocab_file: str | None = flags.option(
        None, help="WordPiece vocabulary, used if no SentencePiece model is given"
    )
    do_lower_case: bool = flags.option(True, help="lower-case the text")
    input_file_mode: str = flags.option(
        "r", choices=("r", "rb"), help="makes no difference: text is read as UTF-8 either way"
    )
    random_seed: int = flags.option(12345, at_least=0, help="decides all chance: pairs, masks and order")
    masking: str = flags.option(
        "static",
        choices=("static", "dynamic"),
        help="dynamic: records without masks, which run_pretraining.py draws afresh each time round, and the "
        "order of A and B with them",
    )
    dupe_factor: int | None = flags.option(
        None,
        at_least=1,
        help="passes over the text, each with other pairs and masks (default: 40; with dynamic masking 1)",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.is_dynamic and self.do_permutation:
            raise flags.UsageError("--do_permutation needs --masking=static")
        if self.dupe_factor is None:
            object.__setattr__(self, "dupe_factor", 1 if self.is_dynamic else SegmentOptions.dupe_factor)

    @property
    def is_dynamic(self) -> bool:
        """Whether records are written without masks."""
        return self.masking == "dynamic"


def create_pretraining_data(options: Options) -> dict[str, Any]:
    """Reads, plans, masks and writes; returns the figures of the run that also go to `<output>.json`.

    Raises:
      InputError: the text, the vocabulary or a path is not usable; earlier output then stays as it was.
    """
    started = time.perf_counter()
    files = matching_files(options.input_file)
    _refuse_to_overwrite(files, options.output_file)
    tokenizer = load_tokenizer(options.spm_model_file, options.vocab_file, options.do_lower_case)
    with records.RecordWriter(options.output_file) as writer:
        corpus = _read(files, tokenizer)
        # Chance is drawn from streams of its own for the plan and for each batch.
        rng = np.random.default_rng([options.random_seed, 0])
        pairs, left_out = plan_pairs(corpus, tokenizer.is_word_start, options, rng)
        if not len(pairs):
            raise InputError(f"no examples: {', '.join(files)} has no line of two words")
        if options.is_dynamic:
            pairs = pairs.in_text_order()
        predictions = _write(writer, corpus, pairs, rng.permutation(len(pairs)), tokenizer, options)
        summary = _summary(corpus, pairs, left_out, predictions, tokenizer, options.max_seq_length, started)
        writer.describe(
            {
                "vocab_size": tokenizer.vocab_size,
                "max_seq_length": options.max_seq_length,
                "max_predictions_per_seq": options.predictions_length,
                "seed": options.random_seed,
                "settings": dataclasses.asdict(options),
                "summary": summary,
            }
        )
    return summary


def _refuse_to_overwrite(files: Sequence[str], outputs: Sequence[str]) -> None:
    inputs = {os.path.realpath(path) for path in files}
    for path in outputs:
        for written in (path, records.metadata_path(path)):
            if os.path.realpath(written) in inputs:
                raise InputError(f"{written} is among the input files and would be overwritten")


def _read(files: Sequence[str], tokenizer: Tokenizer) -> Corpus:
    size = sum(os.path.getsize(path) for path in files)
    with progress_bar(total=size, desc="reading", unit="B", unit_scale=True) as bar:
        return read_corpus(files, tokenizer, bar.update)


def _write(
    writer: records.RecordWriter,
    corpus: Corpus,
    pairs: Pairs,
    order: np.ndarray,
    tokenizer: Tokenizer,
    options: Options,
) -> int:
    """Writes all examples in the given order; returns the number of predictions."""
    predictions = 0
    rows = max(1, _BATCH_PIECES // options.max_seq_length)
    with progress_bar(total=len(pairs), desc="writing", unit=" examples") as bar:
        for batch, begin in enumerate(range(0, len(pairs), rows), 1):
            rng = np.random.default_rng([options.random_seed, batch])
            chosen = pairs.take(order[begin : begin + rows])
            if options.is_dynamic:
                features = make_unmasked_examples(corpus, chosen, tokenizer, options.max_seq_length)
            else:
                features = make_examples(corpus, chosen, tokenizer, options.max_seq_length, options, rng)
                predictions += int(np.count_nonzero(features["masked_lm_weights"]))
            writer.write(features)
            bar.update(len(chosen))
    return predictions


def _summary(
    corpus: Corpus,
    pairs: Pairs,
    left_out: int,
    predictions: int,
    tokenizer: Tokenizer,
    max_seq_length: int,
    started: float,
) -> dict[str, Any]:
    pieces = int(pairs.lengths.sum()) + SPECIAL_PIECES * len(pairs)
    seconds = time.perf_counter() - started
    return {
        "documents": corpus.documents,
        "segments": corpus.segments,
        "corpus_pieces": int(corpus.ids.size),
        "unknown_share": round(np.count_nonzero(corpus.ids == tokenizer.unk_id) / corpus.ids.size, 6),
        "examples": len(pairs),
        "single_words_left_out": left_out,
        "label_1_share": round(float(pairs.labels.mean()), 4),
        "mean_fill": round(pieces / (len(pairs) * max_seq_length), 4),
        "masked_pieces": predictions,
        "masked_share": round(predictions / pieces, 4),
        "pieces": pieces,
        "seconds": round(seconds, 2),
        "pieces_per_second": round(pieces / seconds),
    }


@script(Options)
def main(options: Options) -> None:
    """The command."""
    summary = create_pretraining_data(options)
    for name, value in summary.items():
        print(f"{name.replace('_', ' '):>22}  {value:,}")
    print(f"{'written':>22}  {', '.join(options.output_file)}")


if __name__ == "__main__":
    sys.exit(main())
