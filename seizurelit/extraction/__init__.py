"""Frames to patient and face, keypoints and features; one file per backend."""
