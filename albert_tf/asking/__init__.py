"""Asking a trained model: from Python, or at a prompt."""
