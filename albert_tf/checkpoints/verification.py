"""Checks a conversion: runs its input and its output on the same random batch and the same texts."""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_tf.checkpoints.conversion import Conversion, Converted, written_weights
from albert_tf.checkpoints.loading import assign
from albert_tf.checkpoints.sources import open_source
from albert_tf.errors import InputError
from albert_tf.models import heads

_ROUNDING = {"float32": 1e-4, "float16": 0.1}  # of outputs, by the type of the written weights
_SENTENCES = (
    "The boats walked down the river, past the old city of men and women.",
    "In 1987, 2,009 of them (or so he said) ate crème brûlée at Zoë's café - for £5.50!",
    "Ein Übergrößenträger, ΑΘΗΝΑ, ЁЛКА, Việt Nam, 河水 and हिन्दी",
)
_TEXTS = [text for sentence in _SENTENCES for text in (sentence, sentence.upper(), sentence.lower())]


def check(conversion: Conversion, converted: Converted) -> str:
    """Compares a conversion's output with its input; a line for each comparison.

    The written model is loaded anew. A Hugging Face folder is also given to `transformers` and `tokenizers`
    if they are installed. `InputError` if numbers differ by more than rounding, or ids differ.
    """
    lines = []
    for what, difference in _compare_outputs(conversion, converted):
        lines.append(f"largest difference from the input: {difference:.2g} ({what})")
        allowed = _ROUNDING[conversion.dtype]
        if np.isnan(difference) or (difference > allowed and conversion.input not in what):
            raise InputError(f"the conversion is wrong: {lines[-1]}")
    if tokenizer := converted.tokenizer:
        casing = "lower-cased" if tokenizer.do_lower_case else "cased"
        for what, encode in _written_tokenizers(conversion):
            for text in _TEXTS:
                if encode(text) != tokenizer.encode(text):
                    raise InputError(f"the conversion is wrong: {text!r} ({casing}) has other ids ({what})")
            texts = f"{len(_TEXTS)} texts with capitals, accents and digits"
            lines.append(f"the same ids for {texts}, {casing} ({what})")
    return "\n".join(lines)


def _compare_outputs(conversion: Conversion, converted: Converted) -> Iterator[tuple[str, float]]:
    """What is compared with the input, and the largest absolute difference of any output."""
    head, model = converted.head, converted.model
    batch = random_batch(model, head)
    expected = model(batch, training=False)
    for name in _without_weights(converted.report.missing):
        expected.pop(name, None)
    with open_source(written_weights(conversion)) as source:
        again = heads.build_model(head, model.config, source.shapes)
        assign(again, source)
    yield "the output, loaded anew", _largest_difference(expected, again(batch, training=False))
    folders = (conversion.output, conversion.input)
    folder = next((p for p in folders if os.path.isfile(os.path.join(p, "model.safetensors"))), None)
    if folder is not None and importlib.util.find_spec("transformers"):
        theirs = transformers_outputs(folder, head, batch)
        if shared := {name: value for name, value in expected.items() if name in theirs}:
            what = f"transformers' {heads.HEADS[head].architectures[0]} on {folder}"
            yield what, _largest_difference(shared, theirs)


def random_batch(model: tf_keras.Model, head: str, seed: int = 0) -> dict[str, tf.Tensor]:
    """Random ids in two segments, the second row padded: int32 `[2, sequence]`, or `[2, 3, sequence]`."""
    config, rng = model.config, np.random.default_rng(seed)
    length = min(config.max_position_embeddings, 64)
    shape = (2, 3, length) if head == "multiple_choice" else (2, length)
    mask, segments = np.ones(shape, np.int32), np.zeros(shape, np.int32)
    mask[1, ..., length * 3 // 4 :] = 0
    segments[..., length // 2 :] = config.type_vocab_size - 1
    ids = rng.integers(1, config.vocab_size, shape, np.int32)
    arrays = {"input_ids": ids * mask, "input_mask": mask, "segment_ids": segments * mask}
    return {name: tf.constant(value) for name, value in arrays.items()}


def transformers_outputs(folder: str, head: str, batch: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """The outputs of Hugging Face's model in that folder, under the names of our outputs."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = getattr(transformers, heads.HEADS[head].architectures[0]).from_pretrained(folder).eval()
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    tensors = {theirs: torch.tensor(batch[ours].numpy().astype(np.int64)) for theirs, ours in names.items()}
    with torch.no_grad():
        outputs: dict[str, Any] = dict(model(**tensors))
    renamed: dict[str, str] = {theirs: ours for ours, theirs in heads.HEADS[head].outputs.items()}
    return {renamed.get(name, name): value.numpy() for name, value in outputs.items() if value is not None}


def _without_weights(missing: tuple[str, ...]) -> list[str]:
    """The outputs that depend on missing weights, and so on random initial values."""
    needed = {
        "pooled_output": ("bert/pooler/",),
        "sop_logits": ("bert/pooler/", "cls/seq_relationship/"),
        "mlm_logits": ("cls/predictions/",),
    }
    return [output for output, weights in needed.items() if any(n.startswith(weights) for n in missing)]


def _largest_difference(expected: Mapping[str, Any], given: Mapping[str, Any]) -> float:
    return float(np.max([np.max(np.abs(value - given[name])) for name, value in expected.items()]))  # or NaN


def _written_tokenizers(conversion: Conversion) -> Iterator[tuple[str, Callable[[str], list[int]]]]:
    """The tokenizers of the written files: what each is, and its function from text to ids."""
    with open_source(written_weights(conversion)) as source:
        yield "read from the output", source.assets.tokenizer().encode
    path = os.path.join(conversion.output, "tokenizer.json")
    if os.path.exists(path) and importlib.util.find_spec("tokenizers"):
        import tokenizers

        theirs = tokenizers.Tokenizer.from_file(path)
        what = "tokenizer.json, by `tokenizers`"
        yield what, lambda text: theirs.encode(text, add_special_tokens=False).ids
