"""The outer loop: which jobs make a table, what one job does, and how their predictions are pooled."""
