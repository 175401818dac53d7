"""Correction by hand, as the paper did it: frames out to an annotation tool, corrected points back into the cache."""
