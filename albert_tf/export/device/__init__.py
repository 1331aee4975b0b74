"""LiteRT and ONNX files for phones and other small machines."""
