"""A trained run as a model that others can use: an ensemble, one file, its card, ONNX, and its test on another cohort."""
