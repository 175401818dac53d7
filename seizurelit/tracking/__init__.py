"""What may leave the machine and what may not: pseudonyms, and wandb runs that carry nothing else.

Everything that goes to wandb passes through `pseudonyms.Veil`; `wandb_runs.Tracker` keeps wandb in a process of its
own, so that its faults cost a line of warning and its start costs no job any time.
"""
