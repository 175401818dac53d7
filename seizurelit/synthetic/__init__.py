"""A stand-in cohort: who, how they move, what a camera sees of it; so that everything runs without clinical data."""
