"""`Signature`: inputs and outputs of a served model, as its server describes them."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from albert_tf.errors import InputError, escaped

# By names of TensorFlow's DataType. Strings are `str`, or `bytes` if they are not UTF-8.
_DTYPES = {
    "DT_STRING": np.dtype(object),
    "DT_BOOL": np.dtype(bool),
    "DT_INT32": np.dtype(np.int32),
    "DT_INT64": np.dtype(np.int64),
    "DT_FLOAT": np.dtype(np.float32),
    "DT_DOUBLE": np.dtype(np.float64),
}
_KINDS = {"i": "whole numbers", "f": "numbers", "b": "true or false"}
_FROM = {"i": "iu", "f": "iuf", "b": "b"}  # kind of an input -> kinds of arrays that it takes


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """Type and shape of an input or output. A size that may vary is None; so is an unknown shape."""

    dtype: str  # the name of TensorFlow's DataType, such as "DT_STRING"
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = ["..."] if self.shape is None else ["?" if size is None else str(size) for size in self.shape]
        dtype = _DTYPES.get(self.dtype)
        name = self.dtype if dtype is None else "string" if dtype.hasobject else dtype.name
        return f"{name} [{', '.join(sizes)}]"

    @property
    def is_text(self) -> bool:
        """Whether each row is one string."""
        return self.dtype == "DT_STRING" and self.shape is not None and len(self.shape) == 1

    def to_array(self, values: Any) -> np.ndarray:
        """Makes an array of an array or nested lists; ValueError if they do not fit type and shape."""
        wanted = self.numpy_dtype
        array = _strings(values) if wanted.hasobject else _numbers(values, wanted)
        return self.checked(array)

    def checked(self, array: np.ndarray) -> np.ndarray:
        """The array; ValueError if it does not fit the shape."""
        wrong_rank = self.shape is not None and array.ndim != len(self.shape)
        sizes = zip(self.shape or (), array.shape, strict=False)
        if wrong_rank or any(size not in (None, given) for size, given in sizes):
            raise ValueError(f"its shape must be {self}, not {list(array.shape)}")
        return array

    def from_json(self, values: Any) -> np.ndarray:
        """Makes an array of a server's nested lists; ValueError or TypeError if they do not fit.

        In an empty array, the sizes that the lists do not tell are those of the shape.
        """
        array = np.array(values, self.numpy_dtype)
        if array.size or self.shape is None or array.ndim == len(self.shape):
            return self.checked(array)
        told = itertools.chain(array.shape, itertools.repeat(0))
        return array.reshape(
            [given if size is None else size for size, given in zip(self.shape, told, strict=False)]
        )

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of arrays; it is `object` for strings."""
        if self.dtype not in _DTYPES:
            raise InputError(f"this client does not know tensors of {self.dtype}")
        return _DTYPES[self.dtype]


@dataclasses.dataclass(frozen=True)
class Signature:
    """One of the ways to ask a model."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    def __str__(self) -> str:
        lines = [self.name, *(f"  takes  {name}: {info}" for name, info in self.inputs.items())]
        lines += [f"  gives  {name}: {info}" for name, info in self.outputs.items()]
        return "\n".join(map(escaped, lines))

    def to_arrays(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Makes arrays of the inputs; InputError if one is missing, unknown, or of another type or shape."""
        takes = f"{self.name} takes {', '.join(self.inputs)}"
        for name in (*inputs, *self.inputs):
            if name not in self.inputs:
                raise InputError(f"there is no input {name}: {takes}")
            if name not in inputs:
                raise InputError(f"the input {name} is missing: {takes}")
        arrays = {}
        for name, info in self.inputs.items():
            try:
                arrays[name] = info.to_array(inputs[name])
            except ValueError as error:
                raise InputError(f"{name} of {self.name}: {error}") from None
        return arrays


def _strings(values: Any) -> np.ndarray:
    array = np.array(values, object)
    if not all(isinstance(value, str | bytes) for value in array.flat):
        raise ValueError("it must hold strings, in rows of equal lengths")
    return array


def _numbers(values: Any, wanted: np.dtype) -> np.ndarray:
    error = ValueError(f"it must hold {_KINDS[wanted.kind]}, in rows of equal lengths")
    try:
        array = np.array(values)
    except ValueError:
        raise error from None
    if not array.size:
        return array.astype(wanted)
    if array.dtype.kind not in _FROM[wanted.kind]:
        raise error
    if wanted.kind == "i" and not np.array_equal(array, array.astype(wanted)):
        raise ValueError(f"its numbers must fit into {wanted}")
    return array.astype(wanted)
