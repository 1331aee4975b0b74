"""Raw text into a SentencePiece model: python -m data_prep.train_tokenizer --help."""

import collections
import dataclasses
import itertools
import pathlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from albert_tf.cli import flags
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar
from albert_tf.errors import InputError
from albert_tf.files import appear_when_complete, file_size
from albert_tf.tokenization.preprocessing import preprocess_text
from albert_tf.tokenization.sentencepiece_training import (
    LEAST_COVERAGE,
    MOST_PIECES,
    MOST_THREADS,
    reason_to_leave_out,
    train_sentencepiece,
    vocabulary_listing,
)
from data_prep.data_sets import matching_text_files
from data_prep.text_files import TextOptions, TextRange, check_formats
from data_prep.text_groups import TextGroup


@dataclasses.dataclass(frozen=True)
class Options(TextOptions):
    """Trains a SentencePiece model with the ids and symbols of the original English model.

    Example:

      python -m data_prep.train_tokenizer --input_file='text/*.txt' --output_prefix=vocab --vocab_size=8000
    """

    output_prefix: str = flags.option(help="the model becomes <prefix>.model, its listing <prefix>.vocab")
    vocab_size: int = flags.option(
        30000, at_least=14, at_most=MOST_PIECES, help="number of pieces, with the special ones"
    )
    do_lower_case: bool = flags.option(True, help="lower-case the text")
    keep_accents: bool = flags.option(False, help="keep the accents and other marks of letters")
    character_coverage: float = flags.option(
        0.99995,
        at_least=LEAST_COVERAGE,
        at_most=1,
        help="the share of the text's characters that get a piece of their own",
    )
    input_sentence_size: int = flags.option(
        10_000_000,
        at_least=1,
        help="the most lines to train on; of more lines, a random sample",
    )
    random_seed: int = flags.option(12345, at_least=0, help="the seed of the random sample")
    num_threads: int = flags.option(
        16, at_least=1, at_most=MOST_THREADS, help="number of threads; another number may round differently"
    )


def train_tokenizer(options: Options) -> dict[str, Any]:
    """Trains, checks and writes the model and its listing; returns the figures of the run.

    Raises InputError if the text is missing, is not UTF-8, or does not fit the vocabulary size.
    """
    started = time.perf_counter()
    options.require_input()
    files = matching_text_files(options.input_file)
    check_formats(files)
    outputs = [f"{options.output_prefix}.model", f"{options.output_prefix}.vocab"]
    with appear_when_complete(outputs) as [model_file, listing_file]:
        left_out: collections.Counter[str] = collections.Counter()
        text = TextGroup([TextRange(path, 0, file_size(path)) for path in files], options)
        with progress_bar(total=sum(map(file_size, files)), desc="reading", unit="B", unit_scale=True) as bar:
            sentences = _sentences(text, options, bar.update, left_out)
            lines, sample = _sample(sentences, options.input_sentence_size, options.random_seed)
        used = len(sample)
        if left_out and not used:
            raise InputError(f"no line of the input can be used: {_counted(left_out)}")
        log = "silently (--verbosity=info shows SentencePiece's log)"
        print(f"training on {used:,} of {lines:,} lines, {log}", file=sys.stderr)
        model = train_sentencepiece(
            (sample.pop() for _ in range(used)),  # because SentencePiece keeps its own copy
            options.vocab_size,
            character_coverage=options.character_coverage,
            num_threads=options.num_threads,
            log=options.verbosity == "info",
        )
        pathlib.Path(model_file).write_bytes(model)
        pathlib.Path(listing_file).write_text(vocabulary_listing(model), encoding="utf-8")
    return {
        "lines": lines,
        "lines_used": used,
        "skipped_lines": text.skipped_lines,
        "left_out": left_out,
        "seconds": time.perf_counter() - started,
    }


def _sentences(
    text: TextGroup,
    options: Options,
    on_progress: Callable[[int], None],
    left_out: collections.Counter[str],
) -> Iterator[str]:
    """The lines that SentencePiece can use; counts the others in `left_out`, by the reason."""
    for block in itertools.chain.from_iterable(text.read()):
        for line in block.lines:
            sentence = preprocess_text(line, options.do_lower_case, keep_accents=options.keep_accents)
            if sentence and (reason := reason_to_leave_out(sentence)):
                left_out[reason] += 1
            elif sentence:
                yield sentence
        on_progress(block.size)


def _counted(left_out: collections.Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())


def _sample(sentences: Iterator[str], size: int, seed: int) -> tuple[int, list[str]]:
    """The number of sentences, and a random sample of `size`; SentencePiece's own sample has no seed."""
    rng = random.Random(seed)
    sample: list[str] = []
    count = 0
    for count, sentence in enumerate(sentences, 1):
        if count <= size:
            sample.append(sentence)
        elif (place := rng.randrange(count)) < size:
            sample[place] = sentence
    return count, sample


@script(Options)
def main(options: Options) -> None:
    """Trains a model and prints the figures."""
    figures = train_tokenizer(options)
    if figures["skipped_lines"]:
        print(f"{figures['skipped_lines']:,} lines skipped: not UTF-8, or not what they should be")
    if figures["left_out"]:
        print(f"lines left out: {_counted(figures['left_out'])}")
    print(
        f"{options.vocab_size:,} pieces from {figures['lines_used']:,} lines "
        f"in {figures['seconds']:.1f} s: {options.output_prefix}.model and .vocab"
    )


if __name__ == "__main__":
    sys.exit(main())
