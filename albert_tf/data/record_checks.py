"""What is wrong with the TFRecords of pretraining, and of which kind they are."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from albert_tf.data import records
from albert_tf.data.tfrecord import parse_example, read_records
from albert_tf.errors import InputError


def are_unmasked(paths: Sequence[str]) -> bool:
    """Whether files hold unmasked records, by their first ones; InputError if the files are of two kinds."""
    first_of_kind: dict[bool, str] = {}
    for path in paths:
        record = next(read_records(path), None)
        if record is not None:
            first_of_kind.setdefault("may_swap" in parse_example(record, f"{path}, record 1"), path)
    if len(first_of_kind) > 1:
        unmasked, masked = first_of_kind[True], first_of_kind[False]
        raise InputError(f"{unmasked} holds unmasked records, {masked} masked ones: a run takes one kind")
    return True in first_of_kind


def find_bad_record(
    paths: Sequence[str],
    max_seq_length: int,
    max_predictions_per_seq: int | None,
    vocab_size: int,
    type_vocab_size: int = 2,
    limit: int | None = None,
) -> str | None:
    """One line about the first thing wrong in record files, naming file and record (from 1), or None.

    `max_predictions_per_seq`, the length of the arrays of predictions, is None for unmasked records. At most
    `limit` records of each file are looked at.
    """
    schema = records.schema(max_seq_length, max_predictions_per_seq, vocab_size, type_vocab_size)
    for path in paths:
        number = 0
        try:
            for number, record in enumerate(read_records(path), 1):
                if limit is not None and number > limit:
                    break
                place = f"{path}, record {number}"
                if problem := _problem(parse_example(record, place), schema):
                    return f"{place}: {problem}"
        except InputError as error:
            return str(error)
        if not number:
            return f"{path} holds no records"
    return None


_KINDS = {int: "int64_list", float: "float_list", bytes: "bytes_list"}


def _problem(features: Mapping[str, Sequence[Any]], schema: Mapping[str, records.Field]) -> str | None:
    for name, (kind, length, flag, bound, meaning) in schema.items():
        values = features.get(name)
        if not values:
            return f"no feature {name}: these are not pretraining records"
        if (found := _KINDS[type(values[0])]) != kind:
            return f"{name} is of kind {found}, not {kind}: these are not pretraining records"
        if len(values) != length:
            wanted = f"{flag} is {length}" if flag else f"{length} is needed"
            return f"{name} has {len(values)} values, but {wanted}"
        wrong = next((v for v in values if not 0 <= v < bound), None)
        if wrong is not None:
            return f"{name} holds {wrong}, but {meaning}"
    segments = "".join(map(str, features["segment_ids"]))
    if "may_swap" in schema and not re.fullmatch("0{3,}1{2,}0*", segments):
        return records.NOT_A_PAIR
    return None
