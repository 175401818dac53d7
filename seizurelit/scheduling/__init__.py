"""Jobs with dependencies, the ledger of what was done, and who runs them.

    with Progress(jobs, workers=2) as progress:
        outcome = run_jobs(jobs, run_dir, executor=Pool(workers=2), on_event=progress)

`run` decides what runs when; an executor (`serial`, `pool`) runs it; `ledger` keeps what is known and tells whole from
broken.
"""
