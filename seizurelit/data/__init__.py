"""Windows of a fold: read once, gathered, normalised and augmented in batches, held-out subjects refused."""
