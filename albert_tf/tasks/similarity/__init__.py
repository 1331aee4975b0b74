"""Sentence vectors: what they are trained on, and how they are judged."""
