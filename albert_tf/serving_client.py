"""Asks a model that TensorFlow Serving serves: python -m albert_tf.serving_client --help."""

import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf.cli.flags import ScriptOptions, UsageError, option
from albert_tf.cli.script import script
from albert_tf.cli.text import progress_bar, width
from albert_tf.errors import escaped
from albert_tf.serving.client import PORTS, ServingClient
from albert_tf.serving.rows import STANDARD_INPUT, Row, opened, rows_of_file, rows_of_pairs
from albert_tf.serving.signature import Signature
from albert_tf.serving.transport import ServerFailure

__all__ = ["ServingClient"]

_LONGEST_CELL = 16  # values; of a larger array the table shows type and shape


@dataclasses.dataclass(frozen=True)
class ClientOptions(ScriptOptions):
    """Asks a model that TensorFlow Serving serves, and prints the answers, a row for each row of the request.

    Examples:
      --model_name=mrpc --inputs='text=A fine film.' --inputs='text_pair=I liked it.'
      --model_name=mrpc --input_file=pairs.jsonl --json
      --model_name=mrpc --metadata
    """

    server: str | None = option(None, help="host:port (default: localhost, 8501 for rest, 8500 for grpc)")
    protocol: str = option("rest", choices=tuple(PORTS), help="rest starts faster, grpc carries more data")
    model_name: str = option(help="the name that the server gives the model")
    version: int | None = option(None, at_least=1, help="version of the model (default: the latest)")
    signature: str = option("serving_default", help="name of the signature; --metadata lists the names")
    inputs: tuple[str, ...] | None = option(
        None,
        commas=False,
        help="name=value, one for every input of the signature; repeat all names for more rows. The value is "
        "a text, or JSON if the input is not a text: input_ids=[2,14,3]",
    )
    input_file: str | None = option(
        None,
        help="rows in place of --inputs: JSON objects {name: value, ...}, one a line, or lines of text if "
        "the signature takes one text and the file's name does not end in .jsonl; - means standard input",
    )
    batch_size: int = option(32, at_least=1, help="rows of --input_file in one request")
    timeout: float = option(10.0, at_least=0.001, help="seconds that a request may take")
    retries: int = option(
        3,
        at_least=0,
        help="how often to repeat a request, after longer and longer pauses, if the server is not available",
    )
    json: bool = option(False, help="print JSON, one object a line with all values, in place of a table")
    metadata: bool = option(False, help="print the signatures, with types and shapes, and send no request")

    def __post_init__(self):
        super().__post_init__()
        host, _, port = (self.server or "host:1").rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise UsageError(f"--server={self.server} is not of the form host:port")
        if sum((self.inputs is not None, self.input_file is not None, self.metadata)) != 1:
            raise UsageError("give one of --inputs, --input_file and --metadata")


@script(ClientOptions)
def main(options: ClientOptions) -> None:
    """Asks the model, and prints the answers."""
    with ServingClient(
        options.server,
        model_name=options.model_name,
        protocol=options.protocol,
        version=options.version,
        timeout=options.timeout,
        retries=options.retries,
    ) as client:
        if options.metadata:
            print("\n".join(str(signature) for _, signature in sorted(client.signatures().items())))
            return
        signature = client.signature(options.signature)
        show = _print_json if options.json else _Table().print
        for rows in _batches(options, signature):
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            show(_rows(client.predict(signature.name, columns), len(rows)))


def _batches(options: ClientOptions, signature: Signature) -> Iterator[Sequence[Row]]:
    if options.input_file is None:
        yield rows_of_pairs(options.inputs or (), signature)
        return
    total = None
    if options.input_file != STANDARD_INPUT:
        with opened(options.input_file) as file:
            total = sum(1 for _ in file)
    # On a terminal the answers themselves show the progress.
    bar = progress_bar(total=total, unit=" rows", delay=2, disable=sys.stdout.isatty())
    with opened(options.input_file) as file, bar:
        rows = rows_of_file(file, options.input_file, signature)
        while batch := list(itertools.islice(rows, options.batch_size)):
            yield batch
            bar.update(len(batch))


def _rows(answer: Mapping[str, np.ndarray], count: int) -> list[dict[str, Any]]:
    """Returns the outputs of each row; a scalar output, such as a threshold, goes into every row."""
    columns = [values if values.ndim else np.repeat(values, count) for values in answer.values()]
    for name, values in zip(answer, columns, strict=True):
        if len(values) != count:
            raise ServerFailure(f"the server answers {count} rows with {len(values)} rows of {name}")
    return [dict(zip(answer, row, strict=True)) for row in zip(*columns, strict=True)]


def _print_json(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        values = {name: np.asarray(value).tolist() for name, value in row.items()}
        text = json.dumps(values, ensure_ascii=False)
        print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


class _Table:
    """Prints rows below each other; the first rows decide how wide the columns are."""

    def __init__(self):
        self._widths: list[int] = []

    def print(self, rows: Sequence[Mapping[str, Any]]) -> None:
        lines = [[_cell(value) for value in row.values()] for row in rows]
        if not self._widths:
            lines.insert(0, list(map(escaped, rows[0])))
            self._widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell + " " * (wide - width(cell)) for cell, wide in zip(line, self._widths, strict=True))
            print("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    values = np.asarray(value)
    if values.size > _LONGEST_CELL:
        return f"{values.dtype} {list(values.shape)}"
    words = (f"{v:.4f}" if isinstance(v, np.floating) else " ".join(str(v).split()) for v in values.flat)
    return escaped(" ".join(words))


if __name__ == "__main__":
    sys.exit(main())
