"""From out-of-fold predictions to the table: scores, the fusion row, the baselines, and what each number is made of."""
