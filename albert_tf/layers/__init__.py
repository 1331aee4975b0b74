"""Keras layers of ALBERT: the paper, one idea a file."""
