"""The report of a run: what it got wrong and on whom, the table, its curves and its limits, on one page that needs nothing else."""
