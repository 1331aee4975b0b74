"""A client for models that TensorFlow Serving serves."""
