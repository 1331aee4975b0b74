"""A tiny vocabulary of each kind, so that tests need no download; `make_tokenizers` makes them."""

import os

_FOLDER = os.path.dirname(os.path.abspath(__file__))
SPM_MODEL_FILE = os.path.join(_FOLDER, "tiny_sentencepiece.model")
VOCAB_FILE = os.path.join(_FOLDER, "tiny_wordpiece.txt")
