"""`Assets`: what belongs to weights: config, vocabulary, casing and accents, and the task."""

import dataclasses
import filecmp
import functools
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import tensorflow as tf

from albert_tf.checkpoints.run_folder import TASK_FILE
from albert_tf.config import AlbertConfig
from albert_tf.data.records import read_metadata
from albert_tf.errors import InputError, InputWarning
from albert_tf.files import (
    file_digest,
    files_that_begin_with,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from albert_tf.tokenization import SentencePieceTokenizer, Tokenizer, WordPieceTokenizer, load_tokenizer
from albert_tf.tokenization.sentencepiece_training import vocabulary_listing

CONFIG_FILE = "albert_config.json"

_LARGEST = 1 << 26  # bytes; a larger file is a corpus, not a vocabulary
_FUNCTIONAL = re.compile(r"\[.*\]|<.*>")  # pieces such as [CLS], which no text contains
_TEXT_KEYS = ("do_lower_case", "keep_accents", "vocabulary")  # in `task.json`: how text becomes ids
_FLAGS = {
    "task_name": "--task_name",
    "label_names": "--labels",
    "problem_type": "--multi_label",
    "num_texts": "--text_columns",
    "do_lower_case": "--do_lower_case",
    "keep_accents": "--keep_accents",
    "vocabulary": "--spm_model_file or --vocab_file",
}
_FLAGS_OF_CUSTOM = ("label_names", "problem_type", "num_texts")  # other tasks have no flag for them


_Count = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class _Task(TypedDict, total=False):
    """The keys of `task.json` that are checked; a task may keep others."""

    task_name: str
    label_names: list[str]
    text_columns: list[str]
    label_column: str
    label_separator: str
    problem_type: str
    best_metric: str
    num_texts: _Count
    max_seq_length: _Count
    do_lower_case: bool
    keep_accents: bool
    vocabulary: str | None
    doc_stride: _Count
    max_query_length: _Count
    n_best_size: _Count
    max_answer_length: _Count
    start_n_top: _Count
    end_n_top: _Count
    max_qa_length: _Count
    tag_scheme: str
    tag_column: int
    context: str
    loss: str
    casing_feature: bool
    pooling: Literal["mean", "cls", "pooled"]
    normalize: bool
    projection_size: _Count | None
    dimensions: list[_Count]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assets:
    """What belongs to weights; unknown things are None.

    Attributes:
      place: where the weights are, for messages.
      spm_model_file, vocab_file: the SentencePiece or the WordPiece vocabulary; at most one of them.
      do_lower_case, keep_accents: whether text is lower-cased, and whether it keeps its accents.
      task: what the weights were trained for: "task_name", "label_names" in the order of the classes (empty
        if the result is a score), "num_texts" in an example, "text_columns", "label_column",
        "max_seq_length", and what else the task keeps.
    """

    place: str = "the weights"
    config: AlbertConfig | None = None
    spm_model_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    keep_accents: bool | None = None
    task: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: str, place: str | None = None) -> "Assets":
        """Reads the assets in a folder, or in the folder `assets` inside it; `InputError` if one is broken.

        A vocabulary may have any name, because its content is checked. Of two vocabularies neither counts.
        """
        folders = [path for path in (folder, os.path.join(folder, "assets")) if os.path.isdir(path)]
        config, task_file = (
            next(filter(os.path.exists, (os.path.join(path, name) for path in folders)), None)
            for name in (CONFIG_FILE, TASK_FILE)
        )
        found = [path for inside in folders for path in vocabularies_in(inside)]
        models = [path for path in found if path.endswith(".model")]
        lists = [path for path in found if not path.endswith(".model")]
        task: dict[str, Any] = dict(read_json(task_file, _Task)) if task_file else {}
        return cls(
            place=place or folder,
            config=AlbertConfig.from_json_file(config) if config else None,
            spm_model_file=models[0] if len(models) == 1 else None,
            vocab_file=lists[0] if len(lists) == 1 and len(models) != 1 else None,
            do_lower_case=task.get("do_lower_case"),
            keep_accents=task.get("keep_accents"),
            task={key: value for key, value in task.items() if key not in _TEXT_KEYS},
        )

    @classmethod
    def of_records(cls, paths: Sequence[str], needs_vocabulary: bool = True) -> "Assets":
        """The vocabulary and the casing of pretraining records, from the descriptions beside the records.

        A vocabulary that was moved is looked for beside the records. If it is not there, a warning says so
        unless `needs_vocabulary` is false. `InputError` if files have different vocabularies or casings.
        """
        told: dict[str, tuple[Any, str]] = {}  # each fact, and the first file that tells it
        files: dict[str, Any] = {}
        lost = None
        digest = functools.cache(file_digest)
        for path in paths:
            settings = (read_metadata(path) or {}).get("settings", {})
            facts = {key: settings[key] for key in ("do_lower_case", "keep_accents") if key in settings}
            if "do_lower_case" in facts:
                facts.setdefault("keep_accents", False)  # of an earlier version
            for kind in ("spm_model_file", "vocab_file"):
                if not settings.get(kind) or "vocabulary" in facts:
                    continue
                beside = os.path.join(os.path.dirname(path), os.path.basename(settings[kind]))
                file = next(filter(os.path.isfile, (settings[kind], beside)), None)
                if file:
                    files.setdefault(kind, file)
                    facts["vocabulary"] = digest(file)
                else:
                    lost = lost or f"{settings[kind]}, the vocabulary of {path},"
            for key, value in facts.items():
                earlier, first = told.setdefault(key, (value, path))
                if value != earlier:
                    raise InputError(
                        f"{first} and {path} were not made alike: {key} is {earlier} and {value}; a run "
                        "takes records of one kind"
                    )
        if lost and not files and needs_vocabulary:
            text = f"{lost} is not there any more: --spm_model_file or --vocab_file adds it to the run"
            warnings.warn(text, InputWarning, stacklevel=2)
        found: dict[str, Any] = {key: value for key, (value, _) in told.items() if key != "vocabulary"}
        return cls(place=paths[0], **files, **found)

    def or_else(self, other: "Assets") -> "Assets":
        """These assets; what is unknown here comes from `other`."""
        vocabulary = self if self.vocabulary else other
        return Assets(
            place=self.place,
            config=self.config or other.config,
            spm_model_file=vocabulary.spm_model_file,
            vocab_file=vocabulary.vocab_file,
            do_lower_case=other.do_lower_case if self.do_lower_case is None else self.do_lower_case,
            keep_accents=other.keep_accents if self.keep_accents is None else self.keep_accents,
            task={**other.task, **self.task},
        )

    def overridden(
        self,
        *,
        albert_config_file: str | None = None,
        spm_model_file: str | None = None,
        vocab_file: str | None = None,
        do_lower_case: bool | None = None,
        keep_accents: bool | None = None,
        **task: Any,
    ) -> "Assets":
        """These assets, overridden by the flags that are not None; of two vocabularies the first counts.

        A warning says if a flag contradicts what belongs to the weights. `**task` are entries of `task`.
        """
        given = Assets(
            config=AlbertConfig.from_json_file(albert_config_file) if albert_config_file else None,
            spm_model_file=spm_model_file,
            vocab_file=None if spm_model_file else vocab_file,
            do_lower_case=do_lower_case,
            keep_accents=keep_accents,
            task={key: value for key, value in task.items() if value is not None},
        )
        problems = []
        if None not in (do_lower_case, self.do_lower_case) and do_lower_case != self.do_lower_case:
            kind = "lower-cased" if self.do_lower_case else "cased"
            flag = f"--do_lower_case={do_lower_case}".lower()
            problems.append(f"made for {kind} text, but {flag} is given")
        known = self.keep_accents
        if known is None and self.do_lower_case is not None:
            known = False  # as in `differences`
        if None not in (keep_accents, known) and keep_accents != known:
            kind = "with" if known else "without"
            flag = f"--keep_accents={keep_accents}".lower()
            problems.append(f"made for text {kind} accents, but {flag} is given")
        if given.vocabulary and self.vocabulary and not _are_the_same(given.vocabulary, self.vocabulary):
            name = os.path.basename(self.vocabulary)
            problems.append(f"made with the vocabulary {name}, but {given.vocabulary} is another")
        for problem in problems:
            warnings.warn(f"{self.place}: {problem}", InputWarning, stacklevel=2)
        return dataclasses.replace(given.or_else(self), place=self.place)

    @property
    def vocabulary(self) -> str | None:
        """The file of the vocabulary, of either kind."""
        return self.spm_model_file or self.vocab_file

    def needed_config(self) -> AlbertConfig:
        """The config; `InputError` if there is none."""
        if self.config is None:
            raise InputError(f"there is no {CONFIG_FILE} beside {self.place}: pass --albert_config_file")
        return self.config

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the vocabulary, which must fit the config; `InputError` if there is none.

        If nothing says whether text is lower-cased, it is. A warning says so if pieces have capital letters,
        if the pieces do not fit `keep_accents`, and if models with the vocabulary cannot be exported.
        """
        lower, keep_accents = self.do_lower_case is not False, bool(self.keep_accents)
        tokenizer = load_tokenizer(self.spm_model_file, self.vocab_file, lower, keep_accents)
        if self.config:
            check_vocabulary_fits(tokenizer.vocab_size, self.config, f"{self.vocabulary} has")
        for problem in tokenizer.problems():
            warnings.warn(problem, InputWarning, stacklevel=2)
        capital = next(filter(_has_capital, tokenizer.pieces), None)
        if self.do_lower_case is None and capital:
            text = (
                f"nothing says whether text is lower-cased for {self.place}: it is, though {self.vocabulary} "
                f"has pieces with capital letters ({capital}); give --do_lower_case=false for cased text"
            )
            warnings.warn(text, InputWarning, stacklevel=2)
        return tokenizer

    def description(self) -> dict[str, Any]:
        """What is known of the task and of how text becomes ids, by the keys of `task.json`."""
        vocabulary = file_digest(self.vocabulary) if self.vocabulary else None
        text = dict(zip(_TEXT_KEYS, (self.do_lower_case, self.keep_accents or None, vocabulary), strict=True))
        return {**self.task, **{key: value for key, value in text.items() if value is not None}}

    def write(self, folder: str, names_from: str | None = None) -> None:
        """Writes config, vocabulary and `task.json` into a folder, as far as they are known.

        The vocabulary keeps its file name, unless the folder `names_from` (default: `folder`) already holds
        the same vocabulary under another name.
        """
        if self.config:
            self.config.to_json_file(os.path.join(folder, CONFIG_FILE))
        if self.vocabulary:
            self._write_vocabulary(self.vocabulary, folder, names_from or folder)
        self.write_task(folder)

    def write_task(self, folder: str) -> None:
        """Writes `task.json` alone; nothing if only the vocabulary is known."""
        description = self.description()
        if description.keys() - {"vocabulary"}:
            write_json(os.path.join(folder, TASK_FILE), description)

    def _write_vocabulary(self, vocabulary: str, folder: str, names_from: str) -> None:
        ending = ".model" if self.spm_model_file else ".txt"
        there = files_that_begin_with(os.path.join(names_from, ""), f"[!.]*{ending}")
        path = next((path for path in there if _are_the_same(path, vocabulary)), vocabulary)
        stem = os.path.basename(path).lstrip(".").removesuffix(ending)
        target = os.path.join(folder, stem + ending)
        if os.path.realpath(vocabulary) != os.path.realpath(target):
            with open(vocabulary, "rb") as source, write_bytes(target) as copy:  # not through a link
                shutil.copyfileobj(source, copy)
        if self.spm_model_file:
            with open(self.spm_model_file, "rb") as model:
                write_text(os.path.join(folder, f"{stem}.vocab"), vocabulary_listing(model.read()))


def check_vocabulary_fits(pieces: int, config: AlbertConfig, what: str) -> None:
    """Raises `InputError` if a vocabulary has more pieces than the embeddings have rows.

    Fewer are fine: rows may be padding. `what` begins the message, for example "30k-clean.model has".
    """
    if pieces > config.vocab_size:
        raise InputError(f"{what} {pieces} pieces, but the config's vocab_size is {config.vocab_size}")


def vocabularies_in(folder: str) -> list[str]:
    """The files of a folder that are vocabularies, told by their content."""
    kinds = {".model": SentencePieceTokenizer, ".txt": WordPieceTokenizer}
    names = {end: files_that_begin_with(os.path.join(folder, ""), f"[!.]*{end}") for end in kinds}
    return sorted(path for end, paths in names.items() for path in paths if _loads(kinds[end], path))


def _loads(tokenizer_class: type, path: str) -> bool:
    if not os.path.isfile(path) or not 0 < os.path.getsize(path) < _LARGEST:
        return False
    try:
        tokenizer_class(path)
    except (InputError, OSError):
        return False
    return True


def _are_the_same(path: str, other: str) -> bool:
    return os.path.isfile(path) and filecmp.cmp(path, other, shallow=False)


def _has_capital(piece: str) -> bool:
    return piece != piece.lower() and not _FUNCTIONAL.fullmatch(piece)


def differences(saved: Assets, ours: Assets) -> list[str]:
    """The differences between assets that both know, in words that name the flag, if there is one.

    `saved` belongs to earlier weights, `ours` to the task at hand.
    """
    old, new = saved.description(), ours.description()
    for facts in (old, new):
        if "do_lower_case" in facts:
            facts.setdefault("keep_accents", False)
        if "label_names" in facts:
            facts.setdefault("problem_type", "one label or score")
    has_flag = new.get("task_name", "custom") == "custom"
    return [
        f"{key} {_shown(old[key])}, not {_shown(new[key])}"
        + f" ({flag})" * (has_flag or key not in _FLAGS_OF_CUSTOM)
        for key, flag in _FLAGS.items()
        if key in old and key in new and old[key] != new[key]
    ]


def _shown(value: Any) -> str:
    return ", ".join(value) or "no classes" if isinstance(value, list) else str(value)


def folder_of(path: str) -> str:
    """The folder of weights: the folder of a checkpoint, or `path` itself."""
    return path if tf.io.gfile.isdir(path) else os.path.dirname(path)
