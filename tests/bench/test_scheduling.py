"""The benchmark of the outer loop: what it says of the time left."""

from __future__ import annotations

import random

from bench.scheduling import foretold, trainings
from bench.small import QUICK_TRAINING
from seizurelit.cache.store import Cache
from seizurelit.loso.jobs import Request, jobs_of, possible_rows
from seizurelit.scheduling.ledger import Ledger, Record

SECONDS = {"tcn": 1.0, "agcn": 4.0, "agcn_kd": 6.0}


def test_the_time_left_is_right_within_a_fifth_after_the_first_tenth(tmp_path, tiny_cache):
    """Models that take unlike long, face longer than pose, folds that differ by a third, and a slow first job of each worker."""
    run, _ = trainings(tmp_path, "run", tiny_cache, QUICK_TRAINING)
    models, streams = ("agcn", "tcn", "agcn_kd"), ("pose", "face")
    rows, _ = possible_rows(Cache.open(tiny_cache), QUICK_TRAINING, ("dystonia",), streams, models)
    jobs = jobs_of(run, Request(rows, 4))
    ledger, chance = Ledger(run.folder), random.Random(0)
    ledger.plan(jobs)
    for number, job in enumerate(jobs):
        seconds = SECONDS[job.arguments["model"]] * (2 if job.arguments["stream"] == "face" else 1)
        seconds = seconds * chance.uniform(0.85, 1.15) + (2.0 if number < 2 else 0.0)
        ledger.write(Record(job.id, "done", attempt=1, seconds=seconds))
    for workers in (1, 2, 4):
        assert 0.8 <= foretold(run.folder, workers)["ratio"] <= 1.2
