"""Tokenization by processes: equal to one call, and it ends when a process does."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_tf import testing
from albert_tf.errors import InputWarning
from albert_tf.tokenization import load_tokenizer, parallel
from albert_tf.tokenization.parallel import encode_in_parallel, encode_with_offsets_in_parallel

FILES = [{"spm_model_file": testing.SPM_MODEL_FILE}, {"vocab_file": testing.VOCAB_FILE}]
TEXTS = ["The boats, walking", "", "2009, rivers", "The boats, walking", "Été ＿ ①"] * 20


def check(tokenizer, texts):
    for encode, encode_in_parts in (
        (tokenizer.encode_batch, encode_in_parallel),
        (tokenizer.encode_with_offsets, encode_with_offsets_in_parallel),
    ):
        expected, found = encode(texts), encode_in_parts(tokenizer, texts, "tokenizing")
        assert type(found) is type(expected)
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def small_chunks(monkeypatch):
    """So little text is worth processes, two even where there is one core, and many chunks."""
    monkeypatch.setattr(parallel, "_CHUNK", 100)
    monkeypatch.setattr(parallel, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


class KilledTokenizer:
    """Ends the process that it comes to, as the kernel does when memory runs out."""

    def __init__(self, tokenizer):
        self.home = os.getpid()
        self.tokenizer = tokenizer

    def encode_batch(self, texts):
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.tokenizer.encode_batch(texts)


@pytest.mark.parametrize("files", FILES)
def test_processes_give_what_one_call_gives(files, small_chunks):
    check(load_tokenizer(**files), TEXTS)


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("texts", [[], [""], ["", ""], TEXTS])
def test_little_text_is_encoded_here(files, texts, monkeypatch):
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", None)
    check(load_tokenizer(**files), texts)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.text(max_size=9)), st.integers(1, 12))
def test_chunks_are_all_the_texts_in_order(texts, size):
    before, parallel._CHUNK = parallel._CHUNK, size
    try:
        chunks = parallel._chunks(texts, np.array([len(text) for text in texts], np.int64))
    finally:
        parallel._CHUNK = before
    assert [text for chunk in chunks for text in chunk] == texts


def test_a_killed_process_does_not_end_the_work(small_chunks):
    tokenizer = load_tokenizer(**FILES[0])
    with pytest.warns(InputWarning, match="ended early"):
        ids, _ = encode_in_parallel(KilledTokenizer(tokenizer), TEXTS, "tokenizing")
    np.testing.assert_array_equal(ids, tokenizer.encode_batch(TEXTS)[0])


def test_a_process_does_not_import_tensorflow_and_needs_no_script(tmp_path):
    code = (
        "import os, sys\n"
        "from albert_tf import testing\n"
        "from albert_tf.tokenization import SentencePieceTokenizer, parallel\n"
        "parallel._WORTH_PROCESSES = 0; parallel._CHUNK = 10; os.sched_getaffinity = lambda _: {0, 1}\n"
        "tokenizer = SentencePieceTokenizer(testing.SPM_MODEL_FILE)\n"
        "print(len(parallel.encode_in_parallel(tokenizer, ['The boats'] * 9, 'tokenizing')[1]))\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("9\n", "")


def test_ctrl_c_ends_all_processes_quietly(tmp_path):
    script = tmp_path / "encode.py"
    script.write_text(
        "import os, signal, sys\n"
        "from albert_tf import testing\n"
        "from albert_tf.tokenization import SentencePieceTokenizer, parallel\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored where tests run
        "    os.sched_getaffinity = lambda _: {0, 1}; parallel._SILENT_SECONDS = 0\n"
        "    tokenizer = SentencePieceTokenizer(testing.SPM_MODEL_FILE)\n"
        "    texts = ['The boats, walking' * 20] * 2_000_000\n"
        "    try: parallel.encode_in_parallel(tokenizer, texts, 'tokenizing')\n"
        "    except KeyboardInterrupt: print('interrupted')\n"
    )
    command = [sys.executable, str(script)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        assert "texts/s" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)  # returns when no process is left to write
    assert (out, process.returncode) == ("interrupted\n", 0)
    assert "Traceback" not in err
