"""Fitting one network on one fold: LightningModules, checkpoints that carry the subjects they saw."""
