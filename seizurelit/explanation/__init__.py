"""The grounds of a score: joint × time attribution, the learned graph, and whether either can be believed."""
