"""The files for Hugging Face's `AutoTokenizer`, which makes a tokenizer with our ids."""

import base64
import itertools
import json
import os
import re
import shutil
import sys
import unicodedata
import warnings
from typing import Any, TypedDict

from sentencepiece import sentencepiece_model_pb2

from albert_tf.checkpoints.assets import Assets
from albert_tf.errors import InputWarning
from albert_tf.files import open_file, read_json, write_text
from albert_tf.tokenization import Tokenizer, load_tokenizer
from albert_tf.tokenization.wordpiece import CONTINUATION

_SETTINGS, _WHOLE = "tokenizer_config.json", "tokenizer.json"
_LONGEST_WORD = 200
_NEVER = -1e4  # a score so low that the piece is never used


class _Settings(TypedDict, total=False):
    """The keys of `tokenizer_config.json` that are read."""

    do_lower_case: bool | None
    keep_accents: bool | None
    strip_accents: bool | None


class _TokenizerFile(TypedDict, total=False):
    """The key of `tokenizer.json` that is read."""

    normalizer: dict[str, Any] | None


def read_casing(folder: str) -> dict[str, Any]:
    """`do_lower_case` and `keep_accents` of `Assets`, as far as the files of a tokenizer tell them.

    `tokenizer_config.json` overrides the normalizer of `tokenizer.json`.
    """
    casing: dict[str, Any] = {}
    strips = False
    whole, settings = (os.path.join(folder, name) for name in (_WHOLE, _SETTINGS))
    if os.path.exists(whole):
        steps = _flat(read_json(whole, _TokenizerFile).get("normalizer") or {"normalizers": []})
        kinds = {str(step.get("type")) for step in steps}
        patterns = [step.get("pattern") for step in steps if step.get("content") == ""]
        drops = any(isinstance(pattern, dict) and "Regex" in pattern for pattern in patterns)
        casing = {
            "do_lower_case": "Lowercase" in kinds or any(step.get("lowercase") is True for step in steps),
            "keep_accents": not (drops or kinds & {"StripAccents", "BertNormalizer"})
            or any(step.get("strip_accents") is False for step in steps),
        }
        strips = any(step.get("strip_accents") is True for step in steps)
    if os.path.exists(settings):
        told: dict[str, Any] = dict(read_json(settings, _Settings))
        if told.get("strip_accents") is not None:
            casing["keep_accents"], strips = not told["strip_accents"], told["strip_accents"]
        known = ("do_lower_case", "keep_accents")
        casing |= {key: told[key] for key in known if told.get(key) is not None}
    if strips and casing.get("do_lower_case") is False:
        text = f"{folder}: strip_accents is true there, but here WordPiece keeps the accents of cased text"
        warnings.warn(text, InputWarning, stacklevel=2)
    return casing


def _flat(normalizer: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a normalizer, also of the sequences inside it."""
    steps, rest = [], [normalizer]
    while rest:
        inner = (step := rest.pop()).get("normalizers")
        if isinstance(inner, list):
            rest += [part for part in inner if isinstance(part, dict)]
        else:
            steps.append(step)
    return steps


def special_ids(assets: Assets) -> dict[str, int]:
    """The ids for `config.json`; without a vocabulary, the ids of the English models."""
    pad, cls, sep = 0, 2, 3
    if assets.vocabulary:
        tokenizer = load_tokenizer(assets.spm_model_file, assets.vocab_file)
        pad, cls, sep = tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id
    return {"pad_token_id": pad, "bos_token_id": cls, "eos_token_id": sep}


def write_tokenizer(folder: str, assets: Assets) -> None:
    """Writes `tokenizer.json`, `tokenizer_config.json` and the vocabulary, if there is one."""
    vocabulary = assets.vocabulary
    if not vocabulary:
        return
    tokenizer = load_tokenizer(assets.spm_model_file, assets.vocab_file)
    lower, keep_accents = assets.do_lower_case is not False, bool(assets.keep_accents)
    if assets.spm_model_file:
        name, parts = "spiece.model", _unigram(vocabulary, lower, keep_accents)
    else:
        name, parts = "vocab.txt", _wordpiece(tokenizer, lower, keep_accents)
    shutil.copyfile(vocabulary, os.path.join(folder, name))
    special = tokenizer.special
    settings = {
        # This class takes tokenizer.json as it is; AlbertTokenizer would replace its rules.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": lower,
        "keep_accents": keep_accents,
        "model_max_length": assets.needed_config().max_position_embeddings,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "bos_token": special.cls,
        "eos_token": special.sep,
        **{f"{name}_token": getattr(special, name) for name in ("unk", "sep", "pad", "cls", "mask")},
    }
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokenizer),
        "post_processor": _template(tokenizer),
        **parts,
    }
    for name, content in ((_SETTINGS, settings), (_WHOLE, whole)):
        write_text(os.path.join(folder, name), json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _unigram(spm_model_file: str, lower: bool, keep_accents: bool) -> dict[str, Any]:
    """`preprocess_text` and the SentencePiece model."""
    messages: Any = sentencepiece_model_pb2  # type checkers do not see its classes, which are made at import
    model = messages.ModelProto()
    with open_file(spm_model_file) as file:
        model.ParseFromString(file.read())
    normal = [piece.score for piece in model.pieces if piece.type == piece.NORMAL]
    # SentencePiece scores a symbol that always stands alone a little below the best piece.
    alone = max(normal) - 0.1
    vocab = []
    for piece in model.pieces:
        score = alone * len(piece.piece) if piece.type == piece.USER_DEFINED else piece.score
        if re.search(r"\d,$", piece.piece):
            score = _NEVER  # our tokenizer divides these pieces
        vocab.append([piece.piece, score])
    normalizers: list[dict[str, Any]] = []
    if not keep_accents:
        no_marks = {"type": "Replace", "pattern": {"Regex": _combining_marks()}, "content": ""}
        normalizers += [{"type": "NFKD"}, no_marks]
    if lower:
        normalizers.append({"type": "Lowercase"})
    if charsmap := model.normalizer_spec.precompiled_charsmap:
        precompiled = base64.b64encode(charsmap).decode()
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": precompiled})
    unigram = {"type": "Unigram", "unk_id": model.trainer_spec.unk_id, "vocab": vocab, "byte_fallback": False}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "decoder": metaspace,
        "model": unigram,
    }


def _combining_marks() -> str:
    """A regular expression for the characters that `preprocess_text` drops."""
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
    runs = itertools.groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0])
    ranges = [[code for _, code in run] for _, run in runs]
    return "[" + "".join(rf"\x{{{run[0]:x}}}-\x{{{run[-1]:x}}}" for run in ranges) + "]"


def _wordpiece(tokenizer: Tokenizer, lower: bool, keep_accents: bool) -> dict[str, Any]:
    """BERT's rules and the vocabulary."""
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": False if keep_accents else None,
            "lowercase": lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.special.unk,
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": _LONGEST_WORD,
            "vocab": {piece: id for id, piece in enumerate(tokenizer.pieces)},
        },
    }


def _added_tokens(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    mask = {"lstrip": True}  # as in BERT, the space before a mask belongs to it
    return [
        {"id": id, "content": tokenizer.pieces[id], **flags, **(mask if id == tokenizer.mask_id else {})}
        for id in sorted(tokenizer.special_ids)
    ]


def _template(tokenizer: Tokenizer) -> dict[str, Any]:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP] with segment ids 0 and 1."""

    def special(piece: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": piece, "type_id": segment}}

    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    single = [special(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(sep, 0)]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, special(sep, 1)]
    ids = {cls: tokenizer.cls_id, sep: tokenizer.sep_id}
    tokens = {piece: {"id": piece, "ids": [id], "tokens": [piece]} for piece, id in ids.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}
