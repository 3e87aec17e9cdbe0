"""The schema's history, forward only: a release expands, the next one contracts. Run by `migrate`."""
