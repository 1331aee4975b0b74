"""What is no text, no list of texts and no vocabulary is refused in one line, by both kinds of tokenizers."""

import re

import pytest

from albert_tf import testing
from albert_tf.errors import InputError
from albert_tf.tokenization import load_tokenizer


@pytest.fixture(scope="module", params=[(testing.SPM_MODEL_FILE, None), (None, testing.VOCAB_FILE)])
def tokenizer(request):
    return load_tokenizer(*request.param)


@pytest.mark.parametrize("method", ["encode_batch", "encode_with_offsets", "pieces_to_ids"])
@pytest.mark.parametrize(("given", "message"), [
    ("Hello", "a list of texts is needed, not one text: ['Hello']"),
    (b"Hello", "a list of texts is needed, not one text"),
    ([b"Hello"], "each text must be str, not bytes"),
    (["Hello", None, ["a"]], "each text must be str, not NoneType, list"),
])  # fmt: skip
def test_a_list_of_texts_is_needed(tokenizer, method, given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        getattr(tokenizer, method)(given)


@pytest.mark.parametrize("method", ["encode", "tokenize"])
@pytest.mark.parametrize("given", [["Hello"], b"Hello", None])
def test_one_text_is_needed(tokenizer, method, given):
    with pytest.raises(InputError, match=f"a text must be str, not {type(given).__name__}"):
        getattr(tokenizer, method)(given)


@pytest.mark.parametrize("id", [-1, 10**6])
def test_ids_that_the_vocabulary_lacks_are_refused(tokenizer, id):
    with pytest.raises(InputError, match=f"has the ids 0 to {tokenizer.vocab_size - 1}, not {id}"):
        tokenizer.ids_to_pieces([3, id])


@pytest.mark.parametrize("kind", ["spm_model_file", "vocab_file"])
def test_a_folder_is_no_vocabulary(kind, tmp_path):
    (tmp_path / "30k-clean.model").touch()
    message = f"{tmp_path} is a folder; the file of a vocabulary is needed ({tmp_path} holds 30k-clean.model)"
    with pytest.raises(InputError, match=re.escape(message)):
        load_tokenizer(**{kind: str(tmp_path)})
