"""What sentence vectors are trained by: functions of the vectors of a whole batch, over all devices."""

import tensorflow as tf

_BASE = 6364136223846793005  # odd, so that no product with it loses a bit
_MASKED = -1e9


def fingerprints(input_ids: tf.Tensor, input_mask: tf.Tensor) -> tf.Tensor:
    """int64 `[...]` from int32 `[..., length]`: equal for equal pieces, whatever the padding.

    Other pieces have the same fingerprint with a chance of about 1 in 2^60.
    """
    ids = tf.cast(input_ids * input_mask, tf.int64)
    factors = tf.math.cumprod(tf.fill([tf.shape(ids)[-1]], tf.constant(_BASE, tf.int64)))  # modulo 2^64
    return tf.reduce_sum(ids * factors, axis=-1)


def cosines(one: tf.Tensor, other: tf.Tensor, size: int) -> tf.Tensor:
    """The cosines, float32 `[...]`, of the first `size` values of vectors `[..., H]`."""
    pair = (tf.math.l2_normalize(vectors[..., :size], axis=-1) for vectors in (one, other))
    return tf.reduce_sum(tf.multiply(*pair), axis=-1)


def contrastive_losses(
    vectors: tf.Tensor, texts: tf.Tensor, size: int, temperature: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """How well each text finds its partner among the partners of all, and the partner the text.

    Args:
      vectors: float32 `[examples, texts, H]`: of a text, its partner, and perhaps hard negatives.
      texts: int64 `[examples, texts]`: equal for equal texts. A candidate that is equal to a text or its
        partner is no negative, nor is the partner of an equal text.
      size: how many values of the vectors count.
      temperature: divides the cosines.

    Returns:
      float32 `[examples]`: the mean of both cross-entropies; and whether the text found its partner.
    """
    count, width = tf.shape(vectors)[0], vectors.shape[1]
    units = tf.math.l2_normalize(vectors[..., :size], axis=-1)
    anchors, partners = units[:, 0], units[:, 1]
    others = tf.reshape(tf.transpose(units[:, 1:], [1, 0, 2]), [count * (width - 1), -1])  # partners first
    anchor_of, partner_of = texts[:, 0], texts[:, 1]
    text_of = tf.reshape(tf.transpose(texts[:, 1:]), [-1])
    same_anchor = anchor_of[:, None] == anchor_of[None]
    is_equal = (text_of[None] == anchor_of[:, None]) | (text_of[None] == partner_of[:, None])
    is_equal |= tf.pad(same_anchor, [[0, 0], [0, count * (width - 2)]])
    forward = _own_and_negatives(tf.matmul(anchors, others, transpose_b=True) / temperature, is_equal)
    # From the partner: texts that are equal to the text or to the partner, or have an equal partner.
    is_equal = same_anchor | (anchor_of[None] == partner_of[:, None])
    is_equal |= partner_of[:, None] == partner_of[None]
    backward = _own_and_negatives(tf.matmul(partners, anchors, transpose_b=True) / temperature, is_equal)
    own = tf.range(count)
    both = [tf.nn.sparse_softmax_cross_entropy_with_logits(own, logits) for logits in (forward, backward)]
    found = tf.cast(tf.argmax(forward, axis=-1, output_type=tf.int32) == own, tf.float32)
    return (both[0] + both[1]) / 2, found


def _own_and_negatives(logits: tf.Tensor, is_equal: tf.Tensor) -> tf.Tensor:
    own = tf.eye(tf.shape(logits)[0], tf.shape(logits)[1], dtype=tf.bool)
    return tf.where(is_equal & ~own, _MASKED, logits)


def likeness(vectors: tf.Tensor, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The sum of the cosines of all pairs of different texts, and the number of pairs.

    Their mean is the anisotropy: 1 if all vectors point in one direction. Vectors are `[examples, H]`, texts
    `[examples]`, equal for equal ones.
    """
    units = tf.math.l2_normalize(vectors, axis=-1)
    differ = tf.cast(texts[:, None] != texts[None], tf.float32)
    return tf.reduce_sum(tf.matmul(units, units, transpose_b=True) * differ), tf.reduce_sum(differ)
