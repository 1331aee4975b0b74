"""`PreprocessingLayer`: a Keras layer from texts to the inputs of a model."""

import base64
import os
import tempfile
from typing import Any

import tensorflow as tf
import tf_keras

from albert_tf.errors import InputError, refuse_keras_3
from albert_tf.tokenization import SentencePieceTokenizer, Tokenizer, load_tokenizer
from albert_tf.tokenization.in_graph.text_inputs import TextInputs

_PADDINGS = ("longest", "max_length")


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class PreprocessingLayer(tf_keras.layers.Layer):
    """Makes `input_ids`, `input_mask` and `segment_ids` of texts, as fine-tuning does.

    A model that begins with this layer takes texts, and a file of that model holds the vocabulary. The layer
    also works in `tf.data`, by `map` after `batch`. There it must be if XLA compiles the model
    (`jit_compile=True`), because XLA knows no strings: TensorFlow ends the process.

    Args:
      tokenizer: from `load_tokenizer`.
      max_seq_length: the most pieces of a sequence, special pieces included; longer texts are cut.
      padding: the length of the sequences of a batch: "longest" is that of the longest one, "max_length" is
        always `max_seq_length`, as XLA and TPUs need it.

    Raises:
      InputError: an argument is wrong, or the graph has no tokenizer for this kind of vocabulary.

    Example:

    ```python
    tokenizer = load_tokenizer(spm_model_file="vocab.model")
    layer = PreprocessingLayer(tokenizer, max_seq_length=8, padding="max_length")
    layer(["The boats are near.", "It rains."])["input_ids"].shape  # [2, 8]
    ```
    """

    def __init__(
        self, tokenizer: Tokenizer, max_seq_length: int = 128, padding: str = "longest", **kwargs: Any
    ):
        if not isinstance(tokenizer, Tokenizer):
            raise InputError(f"PreprocessingLayer needs a tokenizer of load_tokenizer, not {tokenizer!r:.80}")
        if padding not in _PADDINGS:
            raise InputError(f"padding must be {' or '.join(_PADDINGS)}, not {padding!r:.80}")
        if not isinstance(max_seq_length, int) or max_seq_length < 4:
            raise InputError(f"max_seq_length must be a number from 4 on, not {max_seq_length!r:.80}")
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.max_seq_length = max_seq_length
        self.padding = padding
        self._text_inputs = TextInputs(tokenizer, max_seq_length)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> dict[str, tf.Tensor]:
        """Does what `call` does; `InputError` if the inputs are no texts."""
        is_pair = isinstance(inputs, list | tuple) and not (inputs and isinstance(inputs[0], str | bytes))
        columns = [_texts(column) for column in (inputs if is_pair else [inputs])]
        if len(columns) not in (1, 2):
            raise InputError(f"PreprocessingLayer takes texts or a pair of texts, not {len(columns)} parts")
        first, second = (tf.TensorShape(column.shape) for column in (columns[0], columns[-1]))
        if not first.is_compatible_with(second):
            raise InputError(f"there must be as many first texts as second texts, not {first} and {second}")
        # Of a list of one tensor, Keras leaves the tensor alone when it loads a model.
        return super().__call__(columns if columns[1:] else columns[0], *args, **kwargs)

    def call(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Makes the inputs of a batch.

        Args:
          inputs: the texts, string `[batch]` or `[batch, 1]`, also as a list. If an example is two texts, a
            pair of such: all first texts, and all second texts.

        Returns:
          `input_ids`, `input_mask` and `segment_ids`, int32 `[batch, sequence]`.
        """
        columns = inputs if isinstance(inputs, list | tuple) else [inputs]
        made = self._text_inputs(*(tf.reshape(column, [-1]) for column in columns))
        if self.padding == "longest":
            return made
        missing = self.max_seq_length - tf.shape(made["input_ids"])[1]
        return {
            name: tf.ensure_shape(tf.pad(values, [[0, 0], [0, missing]]), [None, self.max_seq_length])
            for name, values in made.items()
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; of the tokenizer, the content of its file and its settings."""
        if isinstance(self.tokenizer, SentencePieceTokenizer):
            kind, content = "spm_model_file", self.tokenizer.model
        else:
            kind, content = "vocab_file", "\n".join(self.tokenizer.pieces).encode()
        return {
            **super().get_config(),
            "vocabulary": base64.b64encode(content).decode(),
            "kind": kind,
            "do_lower_case": self.tokenizer.do_lower_case,
            "keep_accents": self.tokenizer.keep_accents,
            "max_seq_length": self.max_seq_length,
            "padding": self.padding,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PreprocessingLayer":
        """The layer that `get_config` describes."""
        config = dict(config)
        kind, vocabulary = config.pop("kind"), config.pop("vocabulary")
        settings = {name: config.pop(name) for name in ("do_lower_case", "keep_accents")}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, kind)
            with open(path, "wb") as file:
                file.write(base64.b64decode(vocabulary))
            return cls(load_tokenizer(**{kind: path} | settings), **config)


def _texts(texts: Any) -> Any:
    """Texts as a tensor, string `[batch]` or `[batch, 1]`; `InputError` if they are none."""
    refuse_keras_3("texts", texts)
    if isinstance(texts, str | bytes):
        raise InputError(f"a list of texts is needed, not one text: [{texts!r:.40}]")
    if not isinstance(getattr(texts, "dtype", None), tf.DType):
        try:
            texts = tf.convert_to_tensor(texts, tf.string)
        except (ValueError, TypeError):
            raise InputError("texts must be strings: a list of them, or an array of one axis") from None
    shape = tf.TensorShape(texts.shape)
    if texts.dtype != tf.string or (shape.rank not in (None, 1) and (shape.rank != 2 or shape[1] != 1)):
        raise InputError(f"texts must be strings [batch] or [batch, 1], not {texts.dtype.name} {shape}")
    return texts
