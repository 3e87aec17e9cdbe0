"""Text and content embeddings: encoders as verified model folders, the batch job's work, search, smaller codes."""
