"""Jobs over a real Ray cluster of several nodes on this machine, one of which is killed."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from seizurelit.errors import InputError
from seizurelit.scheduling import shipping
from seizurelit.scheduling.jobs import Job, Task
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.run import run_jobs
from seizurelit.scheduling.serial import Serial

ray = pytest.importorskip("ray", reason="make env-cluster installs Ray")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    """A head without CPUs for tasks and two nodes with one each: (address, nodes)."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    yield made, nodes
    made.shutdown()


def content(run_dir):
    jobs = run_dir / "jobs"
    return {path.relative_to(jobs).as_posix(): path.read_bytes() for path in jobs.rglob("*") if path.is_file()}


def works(journal, names, seconds=0.0, requires=()):
    return [
        Job(f"m/{name}", "tiny_jobs:work", {"name": name, "journal": str(journal), "seconds": seconds}, requires)
        for name in names
    ]


def test_a_node_that_is_killed_in_mid_run_costs_nothing(tmp_path, journal, cluster):
    made, nodes = cluster
    jobs = [*works(journal, "abcdef", seconds=4.0), *works(journal, "xyz", requires=("m/a", "m/f"))]
    run_jobs(jobs, tmp_path / "serial", executor=Serial())
    begun, events = threading.Event(), []

    def told(event):
        events.append(event)
        kinds = [event.kind for event in events]
        both = kinds.count("started") - kinds.count("done") == 2  # each node has a job under way
        if both and kinds.count("done"):
            begun.set()

    def kill():
        begun.wait(60)
        own = ray.get_runtime_context().get_node_id()  # one of those of this machine, without which the run itself ends
        made.remove_node(next(node for node in nodes if node.node_id != own), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    executor = RayCluster(made.address)
    outcome = run_jobs(jobs, tmp_path / "ray", executor=executor, on_event=told)
    killer.join()
    assert outcome.whole
    assert content(tmp_path / "ray") == content(tmp_path / "serial")
    kinds = [event.kind for event in events]
    assert kinds.count("retried") >= 1
    retried = {event.job for event in events if event.kind == "retried"}
    assert all("Ray worker is gone" in event.error for event in events if event.kind == "retried")
    records = Ledger(tmp_path / "ray").records()
    assert {job for job, record in records.items() if record.attempt > 1} == retried
    assert kinds.count("done") == len(jobs)


def test_what_a_run_listens_to_is_where_the_run_is(tmp_path, cluster):
    made, _ = cluster
    for number in range(4):
        executor = RayCluster(made.address)
        executor.open(tmp_path / str(number) / "ledger")
        ray.get(executor._board.ask_to_stop.remote())  # it lives by now
        place = ray._private.state.actors(executor._board._actor_id.hex())["Address"]["NodeID"]
        own = ray.get_runtime_context().get_node_id()
        executor.close()
        assert place == own


def test_a_cluster_without_nodes_is_told_of_once_each_time(monkeypatch, capsys):
    executor = RayCluster("host:6379", threads=2)
    free = iter([0, 0, 1, 0])
    monkeypatch.setattr(executor, "_count", lambda: next(free))
    monkeypatch.setattr("seizurelit.scheduling.ray_cluster._COUNT_AGAIN", 0.0)
    told = []
    for _ in range(4):
        executor._say_if_empty()
        told.append(capsys.readouterr().out)
    assert [bool(text) for text in told] == [True, False, False, True]
    assert "no node of the cluster has 2 CPUs for a job" in told[0]


def test_what_nodes_do_not_see_is_sent_and_deleted_afterwards(tmp_path, journal, cluster, monkeypatch):
    made, _ = cluster
    monkeypatch.setattr("tempfile.tempdir", None)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "deep").mkdir()
    (cache / "deep" / "tensors.bin").write_bytes(b"tensors")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "config.json").write_text('{"seed": 3}')
    jobs = [
        Job("m/first", "tiny_jobs:read", {"run_dir": str(run_dir), "cache": str(cache)}),
        Job(
            "m/second", "tiny_jobs:read", {"run_dir": str(run_dir), "cache": str(cache), "of": "m/first"}, ("m/first",)
        ),
    ]
    executor = RayCluster(made.address, reads=(cache,), files="shipped")
    outcome = run_jobs(jobs, run_dir, executor=executor)
    assert outcome.whole, outcome.failed
    result = Ledger(run_dir).result("m/second")
    assert result["config"] == '{"seed": 3}'
    assert result["tensors"] == "tensors"
    assert result["before"] == "from m/first"
    where = (run_dir / "jobs" / "m" / "second" / "where.txt").read_text().splitlines()
    assert not any(line.startswith(str(tmp_path)) for line in where)
    assert not Path(where[0]).exists()
    assert "told of it" in (run_dir / "ledger" / "jobs" / "m" / "second.log").read_text()


def test_a_run_that_is_stopped_goes_on_from_the_epoch(tmp_path, journal, parent, until):
    script = f"""
        from pathlib import Path
        from seizurelit.scheduling.jobs import Job
        from seizurelit.scheduling.ray_cluster import RayCluster
        from seizurelit.scheduling.run import run_jobs
        jobs = [Job(f"m/{{name}}", "tiny_jobs:epochs", dict(name=name, journal={str(journal)!r}, count=60, seconds=0.1),
                    resumable=True) for name in "abc"]
        run_jobs(jobs, Path({str(tmp_path / "run")!r}), executor=RayCluster(workers=2))
    """
    first = parent(script)
    assert until(lambda: journal.exists() and len(journal.read_text().splitlines()) >= 2, 60)
    time.sleep(1)
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=60)[1]
    assert "go on from their last epoch" in said, said
    assert not list((tmp_path / "run" / "jobs").rglob("rows.json"))
    second = parent(script)
    assert second.wait(90) == 0, second.communicate()[1]
    starts = [line.split() for line in journal.read_text().splitlines() if line.startswith("start")]
    assert sum(int(words[3]) > 3 for words in starts) == 2  # the two that ran went on; the third had not begun
    rows = [Ledger(tmp_path / "run").result(f"m/{name}") for name in "abc"]
    assert rows == [{"rows": 60}] * 3


def test_an_address_where_no_cluster_is(tmp_path, journal):
    with pytest.raises(InputError, match=r"--ray_address .*no Ray cluster.*ray start --head"):
        run_jobs(works(journal, "a"), tmp_path / "run", executor=RayCluster("127.0.0.1:1"))


def test_a_cargo_comes_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    run_dir, cache = tmp_path / "run", tmp_path / "cohort.csv"
    (run_dir / "jobs" / "m" / "t").mkdir(parents=True)
    (run_dir / "jobs" / "m" / "t" / "w.bin").write_bytes(b"w")
    (run_dir / "config.json").write_text("{}")
    cache.write_text("subject,seizure\n")
    shipment = shipping.Shipment(run_dir, [cache], bytes)
    job = Job("m/x", "x:y", {"run_dir": str(run_dir), "cohort": str(cache), "n": 3}, ("m/t",))
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text("[1]")
    task = Task(job, tmp_path / "partial", tmp_path / "x.log", {"m/t": "d"}, saved)
    here = shipping.receive(task, shipment.cargo(task), bytes)
    depot = shipping.depot(shipment.name)
    assert depot.stat().st_mode & 0o077 == 0
    own = Path(here.job.arguments["run_dir"])
    assert depot in own.parents
    assert (own / "config.json").read_text() == "{}"
    assert (own / "jobs" / "m" / "t" / "w.bin").read_bytes() == b"w"
    assert Path(here.job.arguments["cohort"]).read_text() == "subject,seizure\n"
    assert here.job.arguments["n"] == 3
    assert (here.checkpoint / "state.json").read_text() == "[1]"
    (here.checkpoint / "state.json").write_text("[1, 2]")
    (here.folder / "deep").mkdir()
    (here.folder / "deep" / "p.csv").write_text("p")
    here.log.write_text("said")
    task.folder.mkdir()
    shipping.unload(task, shipping.give_back(here, stopped=True))
    assert (task.folder / "deep" / "p.csv").read_text() == "p"
    assert (saved / "state.json").read_text() == "[1, 2]"
    assert task.log.read_text() == "said"
    shipping.forget(shipment.name)
    assert not depot.exists()
