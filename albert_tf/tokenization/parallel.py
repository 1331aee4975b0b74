"""Tokenization on all cores, by processes that import the tokenizer and little else."""

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from albert_tf.cli.text import progress_bar
from albert_tf.errors import InputWarning
from albert_tf.tokenization.tokenizer import TokenizedTexts, Tokenizer

CHUNK = 1 << 19  # characters
WORTH_PROCESSES = 20_000_000  # characters; one core takes a second for them, processes a third to start
_SILENT_SECONDS = 3

_Encoded = tuple[np.ndarray, ...]
_Encode = Callable[[Sequence[str]], _Encoded]


def encode_in_parallel(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    description: str,
    chunk: int = CHUNK,
    worth_processes: int = WORTH_PROCESSES,
) -> tuple[np.ndarray, np.ndarray]:
    """What `tokenizer.encode_batch(texts)` gives, made by processes if the text is long.

    The processes start if the texts have `worth_processes` characters or more, and encode about `chunk`
    characters in one call. They are spawned: a script of your own needs its `if __name__ == "__main__":`. A
    progress bar with the description appears after some seconds.
    """
    ids, lengths = _in_parallel(tokenizer.encode_batch, texts, description, chunk, worth_processes)
    return ids, lengths


def encode_with_offsets_in_parallel(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    description: str,
    chunk: int = CHUNK,
    worth_processes: int = WORTH_PROCESSES,
) -> TokenizedTexts:
    """What `tokenizer.encode_with_offsets(texts)` gives; otherwise as `encode_in_parallel`."""
    encode = tokenizer.encode_with_offsets
    return TokenizedTexts(*_in_parallel(encode, texts, description, chunk, worth_processes))


def _in_parallel(
    encode: _Encode, texts: Sequence[str], description: str, chunk: int, worth_processes: int
) -> _Encoded:
    """The arrays that `encode` gives for the texts; the second one has an element for each text."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    chunks = _chunks(texts, sizes, chunk)
    cores = len(os.sched_getaffinity(0))
    if sizes.sum() >= worth_processes and cores > 1:
        results = _by_processes(encode, chunks, min(cores, len(chunks)))
    else:
        results = map(encode, chunks)
    done = []
    with progress_bar(total=len(texts), desc=description, unit=" texts", delay=_SILENT_SECONDS) as bar:
        for arrays in results:
            done.append(arrays)
            bar.update(len(arrays[1]))
    return tuple(map(np.concatenate, zip(*done, strict=True)))


def _chunks(texts: Sequence[str], sizes: np.ndarray, chunk: int) -> list[Sequence[str]]:
    """The texts in consecutive parts of about `chunk` characters; at least one part."""
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // chunk)) + 1
    return [texts[begin:end] for begin, end in zip([0, *ends], [*ends, len(texts)], strict=True)]


def _by_processes(encode: _Encode, chunks: Sequence[Sequence[str]], workers: int) -> Iterator[_Encoded]:
    pool = process_pool(workers, _start_worker, encode)
    done = 0
    try:
        with ctrl_c_blocked():  # for good in the processes that start here: the parent ends them
            results = pool.map(_encode, chunks)
        for encoded in results:
            yield encoded
            done += 1
    except BrokenProcessPool:
        warnings.warn(
            "a process that tokenizes ended early (for want of memory, or because a script lacks its "
            '`if __name__ == "__main__":`); going on with one process',
            InputWarning,
            stacklevel=2,
        )
        yield from map(encode, chunks[done:])
    finally:
        pool.shutdown(cancel_futures=True)


def process_pool(workers: int, initializer: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """A pool of at most that many spawned processes, each of which calls the initializer first.

    They start when work is submitted: submit it in `ctrl_c_blocked()`.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawn, initializer=initializer, initargs=arguments)


@contextlib.contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Puts off Ctrl-C for this process, and keeps it for good from the processes that start meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    arrived = []  # at another thread, which does not block it
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda *details: arrived.append(details)) if is_main else None
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if arrived:
            signal.raise_signal(signal.SIGINT)


_encode_here: _Encode  # of a worker


def _start_worker(encode: _Encode) -> None:
    global _encode_here
    _encode_here = encode


def _encode(texts: Sequence[str]) -> _Encoded:
    return _encode_here(texts)
