"""ALBERT (A Lite BERT, arXiv 1909.11942) for TensorFlow 2 / Keras."""
