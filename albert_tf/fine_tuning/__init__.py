"""Fine-tuning and what comes after it: evaluation, prediction, reports, exports."""
