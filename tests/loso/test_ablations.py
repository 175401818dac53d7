"""Switches one at a time, trained for real on the tiny cohort."""

import pandas as pd
import pytest

from bench.small import QUICK_TRAINING
from seizurelit.config import OWN_SIGN
from seizurelit.errors import InputError
from seizurelit.evaluation.fusion import FUSED_STREAM
from seizurelit.evaluation.statistics.multiplicity import holm
from seizurelit.loso import job
from seizurelit.loso.ablations import compared, run_ablations
from seizurelit.loso.options import Ablation, RunOptions

OWN = {"dystonia": "pose"}
SWITCHES = (
    Ablation("fixed graph", ("agcn",), {"agcn.adaptive": False}),
    Ablation("flat", ("agcn",), {"inputs.dimensions": 2}, only="pose"),
    Ablation("fusion", ("fusion",)),
    Ablation("the other stream", ("agcn",), stream="other"),
)


@pytest.fixture
def options(tiny_cache, tmp_path):
    return RunOptions(cache=tiny_cache, out=tmp_path / "all", seeds=1, preset="fast", workers=1, wandb="off")


def accuracy(folder, stream, model):
    rows = pd.read_csv(folder / "predictions.csv", dtype={"label": str, "prediction": str})
    rows = rows[(rows["stream"] == stream) & (rows["model"] == model)]
    assert len(rows)
    return (rows["label"] == rows["prediction"]).mean()


def test_switches_are_one_table_beside_the_reference(options, capsys, monkeypatch):
    assert run_ablations(options, QUICK_TRAINING, SWITCHES, OWN) == 0
    said = capsys.readouterr()
    # agcn and agcn_kd of pose with its teacher, agcn_kd of face with its own, agcn of face; two more runs of agcn.
    assert f"all: {6 * (2 + 1 + 2 + 1) + 2 * 6} trainings in 3 runs" in " ".join(said.err.split())
    assert all(
        text in said.out for text in ("fixed graph", "GCNp", "fusion", "STAND-IN COHORT", "6/6", "Holm over the 4")
    )
    assert "…" not in said.out.split("·")[0]  # into a file or pipe goes all of it
    table = pd.read_csv(options.out / "ablations.csv")
    assert list(table["switch"]) == ["reference", "reference", *(switch.name for switch in SWITCHES)]
    table = table.set_index("switch")
    base = options.out / "reference"
    expected = {
        "fixed graph": accuracy(options.out / "fixed-graph", "pose", "agcn") - accuracy(base, "pose", "agcn"),
        "flat": accuracy(options.out / "flat", "pose", "agcn") - accuracy(base, "pose", "agcn"),
        "fusion": accuracy(base, FUSED_STREAM, "fusion") - accuracy(base, "pose", "agcn_kd"),
        "the other stream": accuracy(base, "face", "agcn") - accuracy(base, "pose", "agcn"),
    }
    for name, difference in expected.items():
        assert table.loc[name, "change_of_accuracy"] == pytest.approx(difference, abs=1e-8)
    assert list(table["p_adjusted"].dropna()) == pytest.approx(holm(list(table["p"].dropna())))
    assert list(table["chance_p_adjusted"]) == pytest.approx(holm(list(table["chance_p"])))
    assert table.loc["reference", "p"].isna().all()
    assert "| fixed graph | dystonia GCNp |" in (options.out / "ablations.md").read_text()

    monkeypatch.setattr(job, "fit", None)  # nothing is trained again
    before = (options.out / "ablations.csv").read_bytes()
    assert run_ablations(options, QUICK_TRAINING, SWITCHES, OWN) == 0
    assert (options.out / "ablations.csv").read_bytes() == before


def test_every_switch_is_set_beside_the_row_without_it():
    own = {sign: stream for stream, sign in OWN_SIGN.items()}
    flat, fused, crossed = (compared(switch, own) for switch in SWITCHES[1:])
    assert flat == [(("dystonia", "pose", "agcn"), ("dystonia", "pose", "agcn"))]
    assert fused[1] == (("emotion", FUSED_STREAM, "fusion"), ("emotion", "face", "agcn_kd"))
    assert crossed[1] == (("emotion", "pose", "agcn"), ("emotion", "face", "agcn"))


@pytest.mark.parametrize(
    ("switches", "own", "says"),
    [
        ((), OWN, "none are given"),
        ((SWITCHES[0], SWITCHES[0]), OWN, "two are called fixed-graph"),
        ((Ablation("x", ("agcn",)),), OWN, "sets nothing"),
        ((Ablation("x", ("agcn",), {"agcn.colour": 1}),), OWN, "agcn.colour"),
        ((Ablation("x", ("agcn",), {"windows.frames": 10}),), OWN, "windows.stride"),
        (SWITCHES, {"dystonia": "hand"}, "hand"),
    ],
)
def test_switches_that_cannot_be_are_refused_before_any_training(options, switches, own, says):
    with pytest.raises(InputError, match=says):
        run_ablations(options, QUICK_TRAINING, switches, own)
    assert not options.out.exists()


def test_the_door_reads_the_shipped_experiment(door):
    done = door("ablate", "--help")
    assert done.returncode == 0
    assert "experiments/ablations.yaml" in done.stdout
    done = door("ablate", "--cache", "nowhere")
    assert done.returncode == 2
    assert "ablations" in done.stderr
