"""The shared encoder (paper 3.1, cross-layer parameter sharing): which layer uses which weights."""

import tensorflow as tf
import tf_keras

from albert_tf.config import AlbertConfig
from albert_tf.layers.attention import SelfAttention, attention_bias, bias_between_examples
from albert_tf.layers.dropout import Seed, split_seed
from albert_tf.layers.feed_forward import FeedForward
from albert_tf.layers.lora import LoraFactors


class SharedEncoder(tf_keras.layers.Layer):
    """L layers of `inner_group_num` blocks each, which share their weights as the config says.

    The weights of a group have the original's names, `group_<g>/inner_group_<k>/...`. If
    `cross_layer_sharing` leaves a half of the blocks unshared, that half has a group for every layer.

    With a `lora_rank`, each block has `LoraFactors` of its own.
    """

    def __init__(self, config: AlbertConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        # In the order of the computation. The lists are flat because Keras saves no lists of lists.
        self.attention = self._in_order(SelfAttention, config.attention_group)
        self.feed_forward = self._in_order(FeedForward, config.ffn_group)
        if config.lora_rank:
            blocks = range(len(self.attention))
            self.lora = [LoraFactors(config, block, dtype=self.dtype_policy) for block in blocks]

    def freeze(self, layers: int) -> None:
        """Leaves the blocks of the first layers as they are in training, but not their LoRA factors."""
        blocks = layers * self.config.inner_group_num
        for half in (*self.attention[:blocks], *self.feed_forward[:blocks]):
            half.trainable = False

    def _in_order(self, half_class, group_of_layer) -> list:
        """Makes one half of each of the L x `inner_group_num` blocks; layers of a group share objects."""
        prefix = "bert/encoder/transformer/group_"
        groups = [group_of_layer(layer) for layer in range(self.config.num_hidden_layers)]
        halves = {
            group: [
                half_class(self.config, f"{prefix}{group}/inner_group_{inner}", dtype=self.dtype_policy)
                for inner in range(self.config.inner_group_num)
            ]
            for group in sorted(set(groups))
        }
        return [half for group in groups for half in halves[group]]

    def call(
        self,
        hidden: tf.Tensor,
        input_mask: tf.Tensor,
        output_positions: tf.Tensor | None = None,
        example_begins: tf.Tensor | None = None,
        dropout_seed: Seed = None,
        recompute: bool = False,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Encodes a batch.

        Args:
          hidden: `[batch, sequence, H]`.
          input_mask: `[batch, sequence]`, 1 for real pieces and 0 for padding.
          output_positions: int `[batch, outputs]`. If given, the last block computes queries, output and
            feed-forward at these positions only; the results there are the same.
          example_begins: int `[batch, sequence]`, if rows hold several examples: where the example of each
            piece begins. Each piece attends to its own example only.
          dropout_seed: each block draws its own masks from it.
          recompute: whether the backward pass computes each block again from its input. The list of
            probabilities is then empty.

        Returns:
          The outputs and the attention probabilities of all blocks, as `AlbertEncoder.call` gives them.
        """
        bias = last_bias = attention_bias(input_mask)
        if example_begins is not None:
            read = example_begins
            if output_positions is not None:
                read = tf.gather(example_begins, output_positions, batch_dims=1)
            last_bias += bias_between_examples(read, example_begins)
            bias += bias_between_examples(example_begins, example_begins)
        blocks = len(self.attention)
        seeds = split_seed(dropout_seed, 2 * blocks)

        def compute(hidden, number):
            is_last = number == blocks - 1
            positions = output_positions if is_last else None
            seed_pair = seeds[2 * number], seeds[2 * number + 1]
            return self.block(number, hidden, last_bias if is_last else bias, positions, seed_pair)

        outputs, probabilities = [], []
        for number in range(blocks):
            if recompute:
                hidden = tf.recompute_grad(lambda hidden, number=number: compute(hidden, number)[0])(hidden)
            else:
                hidden, probs = compute(hidden, number)
                probabilities.append(probs)
            outputs.append(hidden)
        return outputs, probabilities

    def block(
        self,
        number: int,
        hidden: tf.Tensor,
        bias: tf.Tensor,
        positions: tf.Tensor | None = None,
        seeds: tuple[Seed, Seed] = (None, None),
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes one block, of the L x `inner_group_num` in the order of the computation.

        Args:
          number: of the block, from 0.
          hidden: `[batch, sequence, H]`.
          bias: from `attention_bias`.
          positions: int `[batch, outputs]`, the positions to compute; default: all.
          seeds: of the dropout in its two halves.

        Returns:
          The output `[batch, outputs, H]`, and the attention probabilities.
        """
        queries = None if positions is None else tf.gather(hidden, positions, batch_dims=1)
        lora = self.lora[number] if self.config.lora_rank else None
        attended, probs = self.attention[number](
            hidden, bias, queries=queries, dropout_seed=seeds[0], lora=lora
        )
        return self.feed_forward[number](attended, dropout_seed=seeds[1]), probs
