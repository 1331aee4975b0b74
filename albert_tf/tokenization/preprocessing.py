"""Text normalization ahead of SentencePiece."""

import unicodedata


def preprocess_text(text: str, lower: bool = True, remove_space: bool = True) -> str:
    """Collapses white space, decomposes (NFKD), drops combining marks, lower-cases; in this order.

    Accents go for cased models too, and Hangul stays decomposed: both are the original's behaviour, on
    which its released models were trained.
    """
    if remove_space:
        text = " ".join(text.split())
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        for mark in filter(unicodedata.combining, set(text)):
            text = text.replace(mark, "")
    return text.lower() if lower else text
