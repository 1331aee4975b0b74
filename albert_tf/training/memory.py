"""Lets go of the graphs, and with them the variables, that TensorFlow and Keras keep beyond their use."""

import contextlib
from collections.abc import Iterator

import tf_keras
from tensorflow.python.framework import ops  # TensorFlow has no public way to its table of gradients


@contextlib.contextmanager
def freed_graphs() -> Iterator[None]:
    """Forgets at the end what was traced inside, so that the next collection of garbage frees it.

    Else 12 bytes a parameter of each run stay: for each use of a `tf.custom_gradient` in a graph,
    TensorFlow's table of gradients gets an entry, which holds that graph. The graphs cannot be differentiated
    after that.
    """
    table = ops.gradient_registry._registry
    before = set(table)
    try:
        yield
    finally:
        for name in set(table) - before:
            if name.startswith("CustomGradient-"):
                del table[name]
        tf_keras.backend.clear_session()
