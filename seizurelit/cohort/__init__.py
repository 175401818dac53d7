"""Who and what: subjects, seizures, signs, skeletons, the plan of the folds, and the guard against leaks."""
