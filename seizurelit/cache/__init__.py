"""What was extracted of each seizure, as tensors on disk: whole or absent, verified, lazily read."""
