"""SQuAD: questions answered by a span of a text."""
