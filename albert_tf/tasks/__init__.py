"""What a benchmark is: its data, its model, its losses and metrics."""
