"""Exports models: SavedModels for TensorFlow Serving, TF-Hub modules, files for devices."""
