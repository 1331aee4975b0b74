"""A linear-chain conditional random field: tags of a sentence that depend on their neighbours."""

from collections.abc import Callable

import tensorflow as tf
import tf_keras

_NEVER = -1e4  # the score of a transition that is not allowed
_RATE = 100.0  # the variables hold hundredths: at the learning rates of an encoder they would hardly move


class LinearChainCrf(tf_keras.layers.Layer):
    """Scores sequences of tags: the logits of the tags, and a score for each pair of neighbours.

    The chain of a sequence goes through the positions of its words, which `is_word` bool `[batch, sequence]`
    marks, and skips all others. Everything is computed in float32, in log space (Lafferty et al. 2001).
    """

    def __init__(self, num_labels: int, **kwargs):
        super().__init__(**kwargs)
        self.num_labels = num_labels
        first, pairs, last = (
            self.add_weight(name=f"crf/{name}", shape=shape, initializer="zeros", experimental_autocast=False)
            for name, shape in (
                ("first", [num_labels]),
                ("transitions", [num_labels, num_labels]),
                ("last", [num_labels]),
            )
        )
        self.first, self.transitions, self.last = first, pairs, last

    def forbid(self, pairs: tf.Tensor) -> None:
        """Lets no tag follow another one where `pairs`, bool `[before, after]`, is false."""
        self.transitions.assign(tf.where(pairs, 0.0, _NEVER / _RATE))

    def losses_of(self, logits: tf.Tensor, tags: tf.Tensor, is_word: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of the tags, float32 `[batch]`; 0 for sequences without words.

        `logits` is float32 `[batch, sequence, tags]`, `tags` int32 `[batch, sequence]`.
        """
        chain = _Chain(logits, is_word)
        tags = chain.packed(tf.convert_to_tensor(tags))
        alphas = self._alphas(chain, tf.reduce_logsumexp)
        partition = tf.reduce_logsumexp(alphas[-1] + _RATE * self.last, axis=-1)
        first, pairs, last = (_RATE * scores for scores in (self.first, self.transitions, self.last))
        inside = tf.cast(chain.inside, tf.float32)
        emitted = tf.reduce_sum(inside * tf.gather(chain.logits, tags, batch_dims=2), axis=1)
        steps = tf.gather_nd(pairs, tf.stack([tags[:, :-1], tags[:, 1:]], axis=-1))
        final = tf.gather(tags, tf.maximum(chain.lengths - 1, 0), batch_dims=1)
        score = emitted + tf.gather(first, tags[:, 0]) + tf.gather(last, final)
        score += tf.reduce_sum(inside[:, 1:] * steps, axis=1)
        return tf.where(chain.lengths > 0, partition - score, 0.0)

    def decode(self, logits: tf.Tensor, is_word: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best tags of all sequences (Viterbi), and the probability of each of them.

        Returns:
          int32 and float32 `[batch, sequence]`; the probability is that of the tag at its place, over all
          sequences of tags. Positions without a word have 0.
        """
        chain = _Chain(logits, is_word)
        alphas = self._alphas(chain, tf.reduce_max)
        last = tf.argmax(alphas[-1] + _RATE * self.last, axis=-1, output_type=tf.int32)

        def back(tag: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            alpha, follows = step
            scores = alpha + _RATE * tf.gather(tf.transpose(self.transitions), tag)
            return tf.where(follows, tf.argmax(scores, axis=-1, output_type=tf.int32), tag)

        # The tag before a step: the last word's tag stays until its place is reached.
        follows = tf.transpose(chain.inside)[1:]
        tags = _scan_back(back, (alphas[:-1], follows), last)
        tags = tf.transpose(tf.concat([tags, last[None]], axis=0))
        chances = tf.gather(self._marginals(chain), tags, batch_dims=2)
        return chain.unpacked(tags), chain.unpacked(chances)

    def chances(self, logits: tf.Tensor, is_word: tf.Tensor) -> tf.Tensor:
        """The probability of each tag at each word, float32 `[batch, sequence, tags]`; elsewhere 0."""
        chain = _Chain(logits, is_word)
        return chain.unpacked(self._marginals(chain))

    def _marginals(self, chain: "_Chain") -> tf.Tensor:
        """The probability of each tag at each place of the packed chain, float32 [batch, words, tags]."""
        alphas = self._alphas(chain, tf.reduce_logsumexp)
        last = tf.broadcast_to(_RATE * self.last, tf.shape(alphas[-1]))

        def back(beta: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            logits, follows = step
            scores = _RATE * self.transitions + (beta + logits)[:, None]
            return tf.where(follows[:, None], tf.reduce_logsumexp(scores, axis=-1), beta)

        steps = tf.transpose(chain.logits, [1, 0, 2])[1:], tf.transpose(chain.inside)[1:]
        betas = tf.concat([_scan_back(back, steps, last), last[None]], axis=0)
        return tf.transpose(tf.nn.softmax(alphas + betas), [1, 0, 2])

    def _alphas(self, chain: "_Chain", reduce: Callable[..., tf.Tensor]) -> tf.Tensor:
        """Scores of all chains that end in each tag at each place: [words, batch, tags].

        Behind the last word they stay. `reduce` joins chains: their sum in log space, or the largest.
        """
        pairs = _RATE * self.transitions

        def step(alpha: tf.Tensor, now: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            logits, inside = now
            return tf.where(inside[:, None], reduce(alpha[:, :, None] + pairs, axis=1) + logits, alpha)

        logits = tf.transpose(chain.logits, [1, 0, 2])
        alpha = _RATE * self.first + logits[0]
        rest = tf.scan(step, (logits[1:], tf.transpose(chain.inside)[1:]), initializer=alpha)
        return tf.concat([alpha[None], rest], axis=0)


def _scan_back(step: Callable[..., tf.Tensor], rows: tuple[tf.Tensor, ...], last: tf.Tensor) -> tf.Tensor:
    """`tf.scan` from the last row to the first. tf2onnx confuses the rows of its `reverse`."""
    return tf.scan(step, tuple(values[::-1] for values in rows), initializer=last)[::-1]


class _Chain:
    """The words of sequences, packed to the front; with a place behind, so that no loop has no steps."""

    def __init__(self, logits: tf.Tensor, is_word: tf.Tensor):
        is_other = tf.pad(tf.cast(~is_word, tf.int32), [[0, 0], [0, 1]], constant_values=1)
        self._order = tf.argsort(is_other, axis=1, stable=True)
        self.logits = self.packed(logits)
        self.lengths = tf.reduce_sum(1 - is_other, axis=1)
        self.inside = tf.range(tf.shape(is_other)[1]) < self.lengths[:, None]

    def packed(self, values: tf.Tensor) -> tf.Tensor:
        """Values `[batch, sequence, ...]` with those of the words first."""
        behind = [[0, 0], [0, 1]] + [[0, 0]] * (values.shape.rank - 2)
        return tf.gather(tf.pad(values, behind), self._order, batch_dims=1)

    def unpacked(self, values: tf.Tensor) -> tf.Tensor:
        """Values `[batch, words, ...]` at their positions; 0 elsewhere."""
        inside = tf.reshape(self.inside, [*tf.unstack(tf.shape(self.inside)), *[1] * (values.shape.rank - 2)])
        kept = tf.where(inside, values, tf.zeros_like(values))
        return tf.gather(kept, tf.argsort(self._order, axis=1), batch_dims=1)[:, :-1]
