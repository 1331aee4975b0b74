"""The frame of every command-line script: quiet start, errors as one line, exit statuses."""

import contextlib
import dataclasses
import functools
import io
import logging
import os
import shlex
import signal
import sys
import threading
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence

from albert_tf.cli import flags, text
from albert_tf.errors import InputError, InputWarning, escaped
from albert_tf.files import files_that_begin_with, has_scheme
from albert_tf.published import missing

OK, FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130

_LEVELS = {"error": (logging.ERROR, "3"), "warning": (logging.WARNING, "2"), "info": (logging.INFO, "0")}


def script(options_class: type[flags.ScriptOptions]) -> Callable[..., Callable[..., int]]:
    """Makes `run(options)` the `main(argv)` of a script whose flags are the fields of `options_class`.

    The returned `main` parses `argv` (default: `sys.argv`), runs, and returns the exit status: 0, 1 for
    bad input, 2 for bad flags, 130 if Ctrl-C or SIGTERM interrupts it. `run` must import TensorFlow
    itself, so that `--help` and the error about a missing file come at once.
    """

    def decorate(run: Callable[[flags.ScriptOptions], None]) -> Callable[..., int]:
        @functools.wraps(run)
        def main(argv: Sequence[str] | None = None) -> int:
            argv = list(sys.argv if argv is None else argv)
            name = os.path.basename(argv[0])
            try:
                options = flags.parse(options_class, argv)
                command = shlex.join([name, *map(text.without_secrets, argv[1:])])
                options = dataclasses.replace(options, command=command)
                quiet_start(options.verbosity)
                for stream in (sys.stdout, sys.stderr):
                    if isinstance(stream, io.TextIOWrapper):
                        stream.reconfigure(errors="replace")  # if a terminal lacks a character
                with (
                    contextlib.redirect_stdout(_Escaped(sys.stdout)),
                    _warnings_as_lines(name, options.verbosity),
                    _signals_interrupt(),
                ):
                    flags.warn_of_former_flags(options)
                    _check_inputs(options)
                    run(options)
            except flags.HelpRequested as help_requested:
                return _print_help(str(help_requested))
            except InputError as error:
                return _fail(name, str(error), FAILED)
            except flags.UsageError as error:
                return _fail(name, f"{error} (see {name} --help)", USAGE_ERROR)
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                return _fail(name, f"{where}{error.strerror or error}", FAILED)
            except KeyboardInterrupt:
                return _fail(name, "interrupted", INTERRUPTED)
            return OK

        main.options_class = options_class  # type: ignore[attr-defined]
        return main

    return decorate


def _check_inputs(options: flags.ScriptOptions) -> None:
    """InputError if a file is missing: it comes at once, before TensorFlow is imported.

    Whoever reads the file checks the rest. A path may also be the prefix of a checkpoint's files.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}
    for name in options.needed_paths:
        path = getattr(options, name)
        if not path or has_scheme(path) or os.path.exists(path) or files_that_begin_with(path):
            continue
        problem = missing(path) if fields[name].metadata["is_weights"] else f"{path} does not exist"
        if problem:
            raise InputError(f"--{name}={problem}")


class _Escaped:
    """A stream that steers no terminal: all control characters but line ends are escaped."""

    def __init__(self, stream: typing.TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(escaped(text, keep="\n"))

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._stream, name)


def _print_help(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # of `--help | head`; nothing must be flushed again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


@contextlib.contextmanager
def _warnings_as_lines(name: str, verbosity: str) -> Iterator[None]:
    """Shows our warnings as one line each, and those of other packages only if `verbosity` asks for them."""

    def show(message, category, filename, lineno, file=None, line=None):
        print(escaped(f"{name}: warning: {text.without_secrets(str(message))}"), file=sys.stderr)

    with warnings.catch_warnings():
        if verbosity == "error":
            warnings.simplefilter("ignore")
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Lets SIGTERM do what Ctrl-C does, so that a run can save before its machine is taken away.

    If a signal comes while TensorFlow calls Python, TensorFlow may make another error of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals: list[int] = []

    def note(number: int, _) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, note)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if signals:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(name: str, message: str, status: int) -> int:
    print(escaped(f"{name}: error: {text.without_secrets(message.strip())}"), file=sys.stderr)
    return status


def quiet_start(verbosity: str) -> None:
    """Sets what TensorFlow reads from the environment; call it before TensorFlow is imported.

    oneDNN is switched on unless the user decides: TensorFlow leaves it off on many processors, though it
    makes a training step 1.14 times faster there. So that it does not import Keras 3, which nothing here uses
    and which takes a quarter of its start, `tf.keras` is tf_keras.
    """
    level, cpp_level = _LEVELS[verbosity]
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", cpp_level)
    for logger in ("absl", "tensorflow"):
        logging.getLogger(logger).setLevel(level)
