"""The words of answers, by which answers are compared: those between spaces, or Chinese characters."""

import collections
import dataclasses
import difflib
import functools
import re
import string
from collections.abc import Callable, Iterable, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE = re.compile("([\u4e00-\u9fa5])")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")  # with Japanese kana
_SYMBOLS = re.compile(r"\.{2,}|[][(){}<>;@#$%&?!\"«»‘„—–]|,(?!\d)|(?<!\S)'(?=\w)")
_LAST_DOT = re.compile(r"(?<=[^. ])\.(?=[])}>\"'» ]*$)")
_ENDINGS = re.compile(r"(?<=[^' ])('(?:s|m|d)?(?= |$)|'(?:ll|re|ve)(?= |$)|n't(?= |$))")


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """How answers become words, and what two answers have in common.

    Attributes:
      normalize: what is left of a text for comparison.
      words: of a normalized text.
      common: the number of words that two lists of words share.
      unit: what a word is called.
    """

    normalize: Callable[[str], str]
    words: Callable[[str], Sequence[str]]
    common: Callable[[Sequence[str], Sequence[str]], int]
    unit: str = "word"


@functools.lru_cache(maxsize=1 << 17)
def normalize_answer(text: str) -> str:
    """Lower case without ASCII punctuation and without the words a, an and the, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _without_marks(text: str) -> str:
    """Lower case without the punctuation that CMRC 2018 leaves out."""
    return text.lower().strip().translate(_MARKS)


@functools.lru_cache(maxsize=1 << 17)
def _characters(text: str) -> tuple[str, ...]:
    """Each Chinese character, and the words between them, cut as in the Penn Treebank."""
    found: list[str] = []
    for part in filter(None, _CHINESE.split(text)):
        for cut in (_SYMBOLS, _LAST_DOT, _ENDINGS):
            part = cut.sub(r" \g<0> ", part)
        found += part.split()
    return tuple(found)


def _shared(words: Sequence[str], others: Sequence[str]) -> int:
    return (collections.Counter(words) & collections.Counter(others)).total()


def _longest_run(words: Sequence[str], others: Sequence[str]) -> int:
    return difflib.SequenceMatcher(None, words, others, autojunk=False).find_longest_match().size


SEGMENTATIONS = {
    "space": Segmentation(normalize_answer, str.split, _shared),  # SQuAD's official scripts
    "character": Segmentation(_without_marks, _characters, _longest_run, "character"),  # CMRC 2018's own
}


def segmentation_of(texts: Iterable[str]) -> str:
    """The name of the segmentation for texts: "character" if most of their letters stand without spaces."""
    unspaced = letters = 0
    for text in texts:
        unspaced += len(_UNSPACED.findall(text))
        letters += sum(map(str.isalpha, text))
    return "character" if 2 * unspaced > letters else "space"
