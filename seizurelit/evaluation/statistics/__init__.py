"""How much a number of the table is worth: intervals, contrasts, chance, calibration, agreement; pure functions."""
