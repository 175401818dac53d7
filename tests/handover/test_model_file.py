import dataclasses
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.fuzz import Files, fuzz
from seizurelit.cache.store import Cache
from seizurelit.errors import InputError
from seizurelit.handover.ensemble import score
from seizurelit.handover.fitting import store_of
from seizurelit.handover.model_file import read_header, read_model
from seizurelit.handover.of_run import ensemble_of_run


def test_a_file_has_the_refits_and_names_nobody(handed):
    content = handed["model"].read_bytes()
    ensemble, header = read_model(handed["model"]), read_header(handed["model"])
    assert [row.name for row in ensemble.rows] == ["dystonia/pose/agcn_kd"]
    assert ensemble.stand_in
    assert header["consent_recorded"] is True
    cohort = Cache.open(handed["cache"]).cohort()
    assert len(ensemble.subjects) == len(cohort.subjects)
    names = [*cohort.subjects, *(seizure.name for seizure in cohort.seizures), str(handed["run"]), str(handed["cache"])]
    shared = [content, *(path.read_bytes() for path in handed["model"].parent.rglob("*") if path.is_file())]
    assert not [name for name in names for part in shared if name.encode() in part]


def test_a_file_scores_as_the_weights_that_it_was_made_of(handed):
    ensemble = read_model(handed["model"])
    row = ensemble.rows[0]
    cache = Cache.open(handed["cache"])
    cohort = cache.cohort()
    labels = {seizure.name: 0 for seizure in cohort.seizures}
    ours = score(row, store_of(ensemble, row, cache, cohort, labels))
    weights = next((handed["run"] / "refit" / "jobs").glob("dystonia/pose/agcn_kd/*/*/weights.safetensors"))
    from safetensors.torch import load_file

    row.members[0].network.load_state_dict(load_file(weights))
    again = score(row, store_of(ensemble, row, cache, cohort, labels))
    assert all(np.array_equal(ours[name].members, again[name].members) for name in labels)


def test_a_runs_ensemble_gives_its_out_of_fold_scores_by_the_fold_that_never_saw_the_subject(handed):
    import pandas as pd

    from seizurelit.handover.of_run import without_subject

    ensemble = ensemble_of_run(handed["run"])
    row = ensemble.rows[0]
    cache = Cache.open(handed["cache"])
    cohort = cache.cohort()
    seizure = cohort.seizures[0]
    own = without_subject(row, seizure.subject)
    found = score(own, store_of(ensemble, own, cache, cohort, {seizure.name: 0}))[seizure.name]
    predictions = pd.read_csv(handed["run"] / "predictions.csv")
    rows = predictions[(predictions["model"] == "agcn_kd") & (predictions["seizure"] == seizure.name)]
    assert found.score[1] == pytest.approx(float(rows["prob_1"].iloc[0]), abs=1e-6)


def damaged(path: Path, tmp_path: Path, change) -> Path:
    copy = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    change(data)
    copy.write_bytes(bytes(data))
    return copy


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.__setitem__(-1, data[-1] ^ 1),
        lambda data: data.__setitem__(2000, data[2000] ^ 1),
        lambda data: data.__delitem__(slice(len(data) // 2, None)),
        lambda data: data.__setitem__(slice(0, 8), struct.pack("<Q", 2**60)),
        lambda data: data.clear(),
    ],
)
def test_an_altered_file_is_refused(handed, tmp_path, change):
    with pytest.raises(InputError, match=r"model\.safetensors"):
        read_model(damaged(handed["model"], tmp_path, change))


def test_a_whole_file_in_anothers_place_is_refused_by_the_sum_beside_it(handed, tmp_path):
    shutil.copy(handed["model"], tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors.sha256").write_text("0" * 64 + "  model.safetensors\n")
    with pytest.raises(InputError, match="not the file that"):
        read_model(tmp_path / "model.safetensors")


def test_fuzzed_files_are_read_or_refused(handed, tmp_path):
    said: list[str] = []
    files = Files(tmp_path / "fuzz", handed["model"], handed["cache"], handed["run"])
    found = fuzz(files, 200, 7, said.append)
    assert not said, said[0]
    assert all(counts["refused"] for counts in found.values())


def test_nothing_is_written_outside_by_names_that_climb(tmp_path, handed):
    from seizurelit.cohort.manifest import read_cohort

    for name in ("../out", "/etc/x", "..", "a/b", ".hidden", "a\\b"):
        (tmp_path / "cohort.csv").write_text(f"subject,seizure,dystonia\ns1,{name},1\n")
        with pytest.raises(InputError, match="row 2"):
            read_cohort(tmp_path / "cohort.csv")
        with pytest.raises(InputError):
            Cache(tmp_path).path(name, "pose")


def test_export_asks_for_consent(handed, door, tmp_path):
    refused = door("export", handed["run"], "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "--consent-recorded" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_onnx_agrees_with_torch_at_any_length(tmp_path):
    pytest.importorskip("onnxscript")
    from seizurelit.cohort.skeleton import built_in
    from seizurelit.handover.onnx import CLOSE, export_onnx
    from seizurelit.models import Agcn, Tcn

    torch.manual_seed(0)
    graph = Agcn(built_in("body11").adjacency(), 4, 2, variant="small").eval()
    for part in graph.blocks:
        torch.nn.init.normal_(part.spatial.learned, std=0.1)
    lengths = (60, 121, 17)
    assert export_onnx(graph, 4, 11, tmp_path / "agcn.onnx", lengths=lengths).largest <= CLOSE
    assert export_onnx(Tcn(8, 2, 8, 2).eval(), 8, 0, tmp_path / "tcn.onnx", lengths=lengths).largest <= CLOSE


def test_evaluate_gives_the_table_of_a_cohort_never_seen_and_refuses_one_that_was(handed, door, tmp_path, monkeypatch):
    from seizurelit.synthetic.options import StandIn
    from seizurelit.synthetic.write import synthesize

    other = tmp_path / "other"
    synthesize(StandIn(seed=1, subjects=10, min_seconds=4, max_seconds=6, appearance_dim=8), other)
    done = door("evaluate", "--model", handed["model"], "--cache", other, "--out", "ev")
    assert done.returncode == 0, done.stderr
    assert "A cohort that the networks had never seen" in done.stdout
    assert "another key" in done.stdout
    assert {"predictions.csv", "table.csv", "table.md", "shift.csv", "evaluation.json"} == {
        path.name for path in (tmp_path / "ev").iterdir()
    }
    assert "STAND-IN" in (tmp_path / "ev" / "table.md").read_text()
    monkeypatch.setenv("SEIZURELIT_KEY_FILE", str(handed["key"]))
    refused = door("evaluate", "--model", handed["model"], "--cache", handed["cache"])
    assert refused.returncode == 2
    assert "trained on" in refused.stderr


def other_cohort(folder, **options):
    """A cache whose subjects share no name with those of `handed`."""
    from seizurelit.cache.tensors import SeizureTensors
    from seizurelit.synthetic.options import StandIn
    from seizurelit.synthetic.write import synthesize

    made = folder / "made"
    synthesize(
        StandIn(**{"seed": 4, "subjects": 12, "min_seconds": 4, "max_seconds": 6, "appearance_dim": 8} | options), made
    )
    table = pd.read_csv(made / "cohort.csv", dtype=str)
    table["subject"] = "elsewhere-" + table["subject"]
    table.to_csv(folder / "cohort.csv", index=False)
    source, cache = Cache.open(made), Cache.create(folder / "other", folder / "cohort.csv")
    for stream in source.streams():
        for name in source.seizures(stream):
            read = source.read(name, stream)
            metadata = dataclasses.replace(read.metadata, subject=f"elsewhere-{read.metadata.subject}")
            cache.write(SeizureTensors(metadata, read.tensors))
    return cache.root


@pytest.mark.parametrize(("same_key", "reading"), [(True, "probability"), (False, "score")])
def test_a_score_is_a_probability_only_if_it_is_known_that_nobody_was_trained_on(
    handed, tmp_path, monkeypatch, same_key, reading
):
    from seizurelit.handover.external import evaluate

    if same_key:
        monkeypatch.setenv("SEIZURELIT_KEY_FILE", str(handed["key"]))
    cache = other_cohort(tmp_path)
    out = tmp_path / "calibrated.safetensors"
    done = evaluate(handed["model"], cache, override=None, sign=None, out=tmp_path / "ev", calibrated=out)
    row = read_model(out).rows[0]
    assert row.calibration.subjects == 12
    assert row.reading == reading
    assert ("could not be checked" in row.calibrated_on) is not same_key
    assert ("probabilities on a cohort like this one" in done.lines[-1]) is same_key
    assert json.loads((tmp_path / "ev" / "evaluation.json").read_text())["never_seen"] is same_key
    table = pd.read_csv(tmp_path / "ev" / "table.csv", keep_default_na=False)
    assert list(table["model"]) == ["agcn_kd", "always_positive", "training_prior", "motion_energy", "nuisance"]
    assert (table["seizures_scored"].astype(int) == table["seizures_rated"].astype(int)).all()
    assert all(cell for cell in table["accuracy_low"])


def test_baselines_of_a_file_are_those_of_its_cohort(handed):
    from seizurelit.evaluation.baselines import fit_baselines

    cache = Cache.open(handed["cache"])
    cohort = cache.cohort()
    sign = cohort.sign("dystonia")
    kept = read_model(handed["model"]).baselines["dystonia"]
    assert kept == fit_baselines(cohort, sign, cache, ("pose",))
    labels = list(cohort.labels(sign).values())
    assert kept.prior == (labels.count(0) / len(labels), labels.count(1) / len(labels))


@pytest.mark.parametrize(
    ("place", "value"),
    [(("prior",), [0.5, 0.6]), (("regressions", 0, "kept"), [10**9]), (("regressions", 0, "weights"), [[1.0]])],
)
def test_hostile_baselines_are_refused(handed, tmp_path, place, value):
    from seizurelit.handover.model_file import _read, _write

    header, tensors = _read(handed["model"])
    part = header["baselines"]["dystonia"]
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    _write(tmp_path / "model.safetensors", header, tensors)
    with pytest.raises(InputError, match="no model file that can be used"):
        read_model(tmp_path / "model.safetensors")


def test_the_card_is_complete(handed):
    card = (handed["model"].parent / "README.md").read_text()
    front = card.split("---")[1]
    import yaml

    said = yaml.safe_load(front)
    assert said["library_name"] == "seizurelit"
    assert "stand-in-data" in said["tags"]
    metrics = said["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"] for metric in metrics} >= {"f1", "accuracy"}
    for part in (
        "Research use only",
        "STAND-IN COHORT",
        "## Training data",
        "## Evaluation",
        "## Bias, risks, limits",
        "## Privacy",
        "hf upload",
    ):
        assert part in card
    assert "None" not in card
    config = json.loads((handed["model"].parent / "config.json").read_text())
    assert config["sha256"] in card
