"""The TF-Hub module of a model, and the preprocessing module that belongs to it."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from official.nlp.modeling.layers import BertPackInputs

from albert_tf.checkpoints.assets import Assets, vocabularies_in
from albert_tf.models.encoder import range_checks
from albert_tf.models.pretraining import AlbertForPreTraining
from albert_tf.tokenization import Tokenizer
from albert_tf.tokenization.in_graph import in_graph_tokenizer

_Tensors = dict[str, Any]  # tensors by name; the outputs of all blocks are a list
_Function = Any  # a tf.function from `_Tensors` to `_Tensors`

_POSITIONS = "masked_lm_positions"
# Names of the inputs in our models and in the signatures -> names in the calls of published modules.
_NAMES = {"input_ids": "input_word_ids", "input_mask": "input_mask", "segment_ids": "input_type_ids"}


def save_hub_module(
    path: str, model: AlbertForPreTraining, belongings: Assets, *, with_mlm: bool, with_sop: bool
) -> None:
    """Writes a model as a module with the interface of the published modules.

    The module holds the model's computation and not its classes, so it needs nothing but TensorFlow. If the
    belongings do not say the casing, text is lower-cased. `with_mlm` adds `.mlm` and the signature "mlm",
    `with_sop` the signature "sop".
    """
    encode, lower = _encoder(model), belongings.do_lower_case is not False
    module = _reusable(encode, model.encoder.variables)
    module.do_lower_case = tf.Variable(lower, trainable=False)
    with tempfile.TemporaryDirectory() as folder:
        # The module itself tells the casing.
        dataclasses.replace(belongings, do_lower_case=None).write(folder)
        names = sorted(os.listdir(folder))
        module.all_assets = assets = {
            name: tf.saved_model.Asset(os.path.join(folder, name)) for name in names
        }
        vocabulary = assets[os.path.basename(vocabularies_in(folder)[0])]
        setattr(module, "sp_model_file" if belongings.spm_model_file else "vocab_file", vocabulary)

        def tokenization_info() -> _Tensors:
            return {"vocab_file": vocabulary.asset_path, "do_lower_case": tf.constant(lower)}

        signatures = {
            "tokens": _signature(lambda inputs: _both(encode(inputs))),
            "tokenization_info": tf.function(tokenization_info, autograph=False).get_concrete_function(),
        }
        if with_mlm:
            predict = _predictor(model, encode)
            variables = [*model.encoder.variables, *model.masked_lm.variables]
            module.mlm = _reusable(predict, variables, _POSITIONS)

            def mlm(inputs: _Tensors) -> _Tensors:
                outputs = predict(inputs)
                logits = outputs["mlm_logits"]
                return _both(outputs) | {"mlm_logits": tf.reshape(logits, [-1, logits.shape[-1]])}

            signatures["mlm"] = _signature(mlm, mlm_positions=_POSITIONS)
        if with_sop:

            def sop(inputs: _Tensors) -> _Tensors:
                outputs = encode(inputs)
                logits = model.sentence_order(outputs["pooled_output"])
                return _both(outputs) | {"sop_log_probs": tf.nn.log_softmax(logits)}

            module.sop_variables = model.sentence_order.variables
            signatures["sop"] = _signature(sop)
        tf.saved_model.save(module, path, signatures)


def _encoder(model: AlbertForPreTraining) -> _Function:
    """Makes the function of the module. All others call it: the file holds the layers once for each mode."""

    @tf.function(autograph=False)
    def encode(inputs, training=False):
        checks = range_checks({name: inputs[name] for name in _NAMES.values()}, model.config)
        with tf.control_dependencies(checks):
            ours = {name: tf.identity(inputs[published]) for name, published in _NAMES.items()}
        encoded = model.encoder(ours, training=training, return_all_layers=True)
        blocks = model.config.inner_group_num
        return {
            "default": encoded["pooled_output"],
            "pooled_output": encoded["pooled_output"],
            "sequence_output": encoded["sequence_output"],
            "encoder_outputs": encoded["all_layer_outputs"][blocks - 1 :: blocks],
        }

    return encode


def _predictor(model: AlbertForPreTraining, encode: _Function) -> _Function:
    """Makes the function of `.mlm`, which adds the logits of the pieces at some positions."""

    @tf.function(autograph=False)
    def predict(inputs, training=False):
        outputs = encode({name: inputs[name] for name in _NAMES.values()}, training=training)
        masked = tf.gather(outputs["sequence_output"], inputs[_POSITIONS], batch_dims=1)
        return outputs | {"mlm_logits": model.masked_lm(masked, model.encoder.embeddings.word_embeddings)}

    return predict


def _reusable(
    function: _Function, variables: Iterable[tf.Variable], *more_inputs: str
) -> tf.train.Checkpoint:
    """Makes a callable for both modes, with the attributes that `hub.KerasLayer` looks for."""
    specs = {name: _ids(name) for name in (*_NAMES.values(), *more_inputs)}
    for training in (False, True):
        function.get_concrete_function(specs, training=training)
    reusable = tf.train.Checkpoint()
    reusable.variables = list(variables)
    reusable.trainable_variables = list(variables)
    reusable.__call__ = function
    return reusable


def _ids(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, None], tf.int32, name=name)


def _signature(function: Callable[[_Tensors], _Tensors], **more_names: str) -> _Function:
    """Makes a signature: it takes the inputs by other names than the function does; see `_NAMES`."""
    names = _NAMES | more_names

    def named(**inputs: tf.Tensor) -> _Tensors:
        return function({names[name]: inputs[name] for name in inputs})

    specs = {name: _ids(name) for name in names}
    return tf.function(named, autograph=False).get_concrete_function(**specs)


def _both(outputs: _Tensors) -> _Tensors:
    return {name: outputs[name] for name in ("sequence_output", "pooled_output")}


_TEXTS = tf.TensorSpec([None], tf.string, name="sentences")


def save_hub_preprocessing(path: str, tokenizer: Tokenizer, seq_length: int) -> None:
    """Writes the tokenizer as a module with the interface of the published preprocessing modules.

    The module needs tensorflow_text and not this package. It cuts pairs that are too long as fine-tuning
    does: the longer text, or the second if both are equally long, loses its last piece until both fit.

    Callers of the module may give another length than `seq_length`.

    Raises:
      InputError: the graph has no tokenizer for this kind of vocabulary.
    """
    in_graph = in_graph_tokenizer(tokenizer)
    special = {
        "start_of_sequence_id": tokenizer.cls_id,
        "end_of_segment_id": tokenizer.sep_id,
        "padding_id": tokenizer.pad_id,
    }

    @tf.function(autograph=False)
    def pack(inputs, seq_length=seq_length):
        texts = inputs if isinstance(inputs, list | tuple) else [inputs]
        return BertPackInputs.bert_pack_inputs(texts, seq_length, **special)

    # One text, in a list or not, or a pair; a text is a row of pieces, or of words that are rows of pieces.
    # Of a list of one tensor, Keras leaves the tensor alone when it loads a model.
    for ragged_rank in (1, 2):
        pieces = tf.RaggedTensorSpec([None] * (ragged_rank + 1), tf.int32, ragged_rank)
        for texts in (pieces, [pieces], [pieces, pieces]):
            pack.get_concrete_function(texts, seq_length=tf.TensorSpec([], tf.int32))

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def preprocess(sentences):
        return pack([in_graph.tokenize(sentences)], seq_length=seq_length)

    @tf.function(input_signature=[], autograph=False)
    def special_tokens():
        more = {"mask_id": tokenizer.mask_id, "vocab_size": tokenizer.vocab_size}
        return {name: tf.constant(value, tf.int32) for name, value in (special | more).items()}

    module = _callable(preprocess)
    module.tokenize = _callable(in_graph.tokenize)
    module.tokenize.get_special_tokens_dict = _callable(special_tokens)
    module.bert_pack_inputs = _callable(pack)
    tf.saved_model.save(module, path)


def _callable(function: tf.types.experimental.PolymorphicFunction) -> tf.train.Checkpoint:
    """Makes an object that users call after they load it, and that can have attributes."""
    saved = tf.train.Checkpoint()
    saved.__call__ = function
    return saved
