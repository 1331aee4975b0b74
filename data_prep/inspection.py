"""Records as readable text: A and B of each example, with marks at the pieces to predict."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from albert_tf.data.records import Description, manifest_path, metadata_path
from albert_tf.data.tfrecord import parse_example, read_records
from albert_tf.errors import InputError
from albert_tf.files import file_exists, read_json
from albert_tf.tokenization import Tokenizer, WordPieceTokenizer, load_tokenizer
from albert_tf.tokenization.sentencepiece import UNDERLINE
from albert_tf.tokenization.wordpiece import CONTINUATION
from data_prep.manifest import read_manifest, shard_paths

_LABELS = {0: "in order", 1: "swapped, or B from another text"}


def readable_records(
    output_file: str, count: int, spm_model_file: str | None = None, vocab_file: str | None = None
) -> Iterator[str]:
    """The first `count` records of an output as text; a piece to predict stands as [what is seen|its label].

    The output has a manifest, or is a single record file. If no vocabulary is given, the description of the
    file names it. Raises InputError if there are no records or no vocabulary.
    """
    has_manifest = file_exists(manifest_path(output_file))
    paths = shard_paths(output_file, read_manifest(output_file)) if has_manifest else [output_file]
    path = metadata_path(paths[0])
    settings: Any = read_json(path, Description).get("settings", {}) if file_exists(path) else {}
    if not (spm_model_file or vocab_file):
        spm_model_file, vocab_file = settings.get("spm_model_file"), settings.get("vocab_file")
    lower, keep_accents = settings.get("do_lower_case"), settings.get("keep_accents")
    tokenizer = load_tokenizer(spm_model_file, vocab_file, lower is not False, bool(keep_accents))
    numbered = ((path, n, record) for path in paths for n, record in enumerate(read_records(path), 1))
    for path, number, record in itertools.islice(numbered, count):
        place = f"{path}, record {number}"
        features = {name: np.array(values) for name, values in parse_example(record, place).items()}
        try:
            text = _readable(features, tokenizer)
        except (KeyError, IndexError, TypeError, ValueError):
            raise InputError(f"{place} is no pretraining record of {tokenizer.source}") from None
        yield f"{place}: {text}"


def _readable(features: Mapping[str, np.ndarray], tokenizer: Tokenizer) -> str:
    real = int(np.flatnonzero(features["segment_ids"])[-1]) + 1
    texts = [_spelled(piece, tokenizer) for piece in tokenizer.ids_to_pieces(features["input_ids"][:real])]
    count = np.count_nonzero(features.get("masked_lm_weights", ()))  # unmasked records have none
    predictions = [features[name][:count] for name in ("masked_lm_positions", "masked_lm_ids") if count]
    for position, id in zip(*predictions, strict=True):
        seen, label = texts[position], _spelled(tokenizer.pieces[id], tokenizer)
        space = " " if label.startswith(" ") else ""
        texts[position] = f"{space}[{seen.strip()}|{label.strip()}]"
    a_end = int(np.count_nonzero(features["segment_ids"][:real] == 0)) - 1  # where the first [SEP] is
    [label] = features["next_sentence_labels"]
    masks = f"{count} to predict"
    if "may_swap" in features:
        order = "masks and order" if features["may_swap"][0] else "masks"
        masks = f"{order} drawn while training"
    return (
        f"label {label} ({_LABELS[label]}), {real} pieces, {masks}\n"
        f"  A: {''.join(texts[1:a_end]).strip()}\n  B: {''.join(texts[a_end + 1 : -1]).strip()}"
    )


def _spelled(piece: str, tokenizer: Tokenizer) -> str:
    """A piece as part of a text, with a space before a word."""
    if isinstance(tokenizer, WordPieceTokenizer):
        return piece.removeprefix(CONTINUATION) if piece.startswith(CONTINUATION) else f" {piece}"
    return piece.replace(UNDERLINE, " ")
