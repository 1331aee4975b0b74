"""Asking a model that TensorFlow Serving serves."""
