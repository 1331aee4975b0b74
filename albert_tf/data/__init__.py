"""Everything between a file of examples and a batch."""
