"""What leaves the house: SavedModels for TensorFlow Serving, TF-Hub modules, files for devices."""
