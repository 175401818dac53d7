"""Keypoints and features that other tools made, and public data sets, into the cache."""
