"""Models that choose: a class for a text, a class for each of its pieces, or one of several candidates."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.errors import InputError
from albert_tf.layers.crf import LinearChainCrf
from albert_tf.layers.dropout import Seed, dropout, split_seed
from albert_tf.layers.heads import ExitHeads, OutputHead, WordShapes
from albert_tf.models.encoder import INPUT_NAMES, HeadModel, Tensors, dropout_seed_for
from albert_tf.tokenization.words import Shape

_NEVER = -1e9  # the score of what cannot be chosen


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForSequenceClassification(HeadModel):
    """ALBERT with a classifier on the pooled output: the model of the GLUE tasks (paper 4.2).

    Args:
      num_labels: number of classes; 1 for a score (regression).
      classifier_dropout_prob: rate of the dropout before the classifier in training.
      early_exit: whether there is a classifier behind each layer, too; see `models.early_exit.answer_early`.

    Example:

    ```python
    model = AlbertForSequenceClassification(AlbertConfig.from_preset("base_v2"), num_labels=3)
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["logits"].shape  # [1, 3]
    ```
    """

    arguments = ("num_labels", "classifier_dropout_prob", "early_exit")

    def __init__(
        self,
        config: AlbertConfig,
        num_labels: int,
        classifier_dropout_prob: float = 0.1,
        early_exit: bool = False,
        **kwargs,
    ):
        super().__init__(config, **kwargs)
        self.num_labels = num_labels
        self.classifier_dropout_prob = classifier_dropout_prob
        self.early_exit = early_exit
        size, policy = config.hidden_size, self.dtype_policy
        self.classifier = OutputHead(num_labels, size, dtype=policy)
        self.exits = None
        if early_exit:
            last = config.num_hidden_layers - 1
            if not last or config.attention_group(last) or config.ffn_group(last) or config.lora_rank:
                raise InputError("early exit needs at least two layers, which share all their weights")
            self.exits = ExitHeads(config.num_hidden_layers, num_labels, size, dtype=policy)

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Scores the classes: float32 `logits` `[batch, num_labels]`.

        With `early_exit` there are `layer_logits` `[batch, layers, num_labels]`, too; the last are `logits`.
        """
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        rate = self.classifier_dropout_prob
        if self.exits is None:
            pooled = self.pooled_output(inputs, training, encoder_seed)
            return {"logits": self.classifier(dropout(pooled, rate, head_seed))}
        firsts = self.first_of_layers(inputs, training, encoder_seed)
        last_seed, exits_seed = split_seed(head_seed, 2)
        logits = self.classifier(dropout(self.encoder.pooler(firsts[-1]), rate, last_seed))
        of_exits = self.exits(dropout(firsts[:-1], rate, exits_seed))
        of_layers = tf.concat([of_exits, logits[tf.newaxis]], axis=0)
        return {"logits": logits, "layer_logits": tf.transpose(of_layers, [1, 0, 2])}


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForMultipleChoice(HeadModel):
    """ALBERT with one score for each candidate: the model of RACE (paper 4.2).

    Example:

    ```python
    model = AlbertForMultipleChoice(AlbertConfig.from_preset("base_v2"))
    model({"input_ids": tf.constant([[[2, 48, 3], [2, 25, 3]]])})["logits"].shape  # [1, 2]
    ```
    """

    arguments = ("classifier_dropout_prob",)
    axes = ("batch", "choices", "sequence")

    def __init__(self, config: AlbertConfig, classifier_dropout_prob: float = 0.1, **kwargs):
        super().__init__(config, **kwargs)
        self.classifier_dropout_prob = classifier_dropout_prob
        self.choice = OutputHead(1, config.hidden_size, dtype=self.dtype_policy)

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Scores the candidates: float32 `logits` `[batch, choices]`; their softmax gives probabilities.

        Here each input is `[batch, choices, sequence]`. A choice without a token has the probability 0.
        """
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        shape = tf.shape(inputs["input_ids"])
        given = {name: tf.convert_to_tensor(inputs[name]) for name in INPUT_NAMES if name in inputs}
        flat = {name: tf.reshape(value, [-1, value.shape[-1] or shape[2]]) for name, value in given.items()}
        pooled = self.pooled_output(flat, training, encoder_seed)
        scores = self.choice(dropout(pooled, self.classifier_dropout_prob, head_seed))
        logits = tf.reshape(scores, shape[:2])
        if "input_mask" in given:
            is_there = tf.reduce_any(given["input_mask"] > 0, axis=-1)
            logits = tf.where(is_there, logits, _NEVER)
        return {"logits": logits}


@tf_keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForTokenClassification(HeadModel):
    """ALBERT with a classifier on every position, for instance to tag named entities.

    Args:
      num_labels: number of classes.
      classifier_dropout_prob: rate of the dropout before the classifier in training.
      crf: whether a `LinearChainCrf`, the attribute `chain`, scores the classes of neighbours.
      casing_feature: whether the head sees the shapes of words.

    Example:

    ```python
    model = AlbertForTokenClassification(AlbertConfig.from_preset("base_v2"), num_labels=9)
    model({"input_ids": tf.constant([[2, 48, 25, 3]])})["logits"].shape  # [1, 4, 9]
    ```
    """

    arguments = ("num_labels", "classifier_dropout_prob", "crf", "casing_feature")
    takes = (*INPUT_NAMES, "word_shapes")
    reads_pooler = False

    def __init__(
        self,
        config: AlbertConfig,
        num_labels: int,
        classifier_dropout_prob: float = 0.1,
        crf: bool = False,
        casing_feature: bool = False,
        **kwargs,
    ):
        super().__init__(config, **kwargs)
        self.num_labels = num_labels
        self.classifier_dropout_prob = classifier_dropout_prob
        self.crf, self.casing_feature = crf, casing_feature
        self.token_classifier = OutputHead(num_labels, config.hidden_size, dtype=self.dtype_policy)
        self.chain = LinearChainCrf(num_labels, dtype=self.dtype_policy) if crf else None
        self.shapes = (
            WordShapes(len(Shape), config.hidden_size, dtype=self.dtype_policy) if casing_feature else None
        )

    def call(self, inputs: Tensors, training: bool | None = None, dropout_seed: Seed = None) -> Tensors:
        """Scores the classes of every position: float32 `logits` `[batch, sequence, num_labels]`.

        `inputs` may also have `word_shapes`, int32 `[batch, sequence]`: the `tokenization.words.Shape` of the
        word whose first piece it is, else 0. The casing feature needs it.
        """
        encoder_seed, head_seed = split_seed(dropout_seed_for(training, dropout_seed), 2)
        sequence = self.encode(inputs, training=training, dropout_seed=encoder_seed)["sequence_output"]
        if self.shapes is not None:
            if inputs.get("word_shapes") is None:
                raise InputError("a model with the casing feature needs word_shapes")
            sequence = self.shapes(sequence, inputs["word_shapes"])
        return {"logits": self.token_classifier(dropout(sequence, self.classifier_dropout_prob, head_seed))}

    def tags(self, logits: tf.Tensor, is_word: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best classes of the words, int32, and their probabilities, float32, both `[batch, sequence]`.

        With a CRF they are those of the best chain through the words, which `is_word` bool marks. Elsewhere
        both are 0.
        """
        if self.chain is not None:
            return self.chain.decode(logits, is_word)
        best = tf.argmax(logits, axis=-1, output_type=tf.int32)
        chances = tf.reduce_max(tf.nn.softmax(logits), axis=-1)
        return tf.where(is_word, best, 0), tf.where(is_word, chances, 0.0)

    def chances(self, logits: tf.Tensor, is_word: tf.Tensor) -> tf.Tensor:
        """The probabilities of the classes of the words, float32 `[batch, sequence, num_labels]`."""
        return tf.nn.softmax(logits) if self.chain is None else self.chain.chances(logits, is_word)
