"""`python -m seizurelit.pretrain` as a user runs it: help, weights that extraction takes, resuming, one-line errors."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seizurelit.cli import run_door
from seizurelit.extraction.appearance import AppearanceModel, face_appearance
from seizurelit.pretrain import main

QUICK = ("--epochs", 2, "--batch", 14, "--width", 2, "--accelerator", "cpu")


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory):
    """A file of the data set's form: bars, of an angle for each emotion."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    lines = ["emotion,pixels,Usage"]
    for usage, count in (("Training", 28), ("PublicTest", 14), ("PrivateTest", 14)):
        for index in range(count):
            angle = np.pi * (index % 7) / 7
            bars = 128 + 100 * np.sin(0.6 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
            lines.append(f"{index % 7},{' '.join(map(str, bars.astype(np.uint8).ravel()))},{usage}")
    path = tmp_path_factory.mktemp("fer") / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as raised:
        run_door(main, [*map(str, arguments)])
    return raised.value.code


def test_its_weights_are_found_by_extraction(fer2013, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEIZURELIT_WEIGHTS", str(tmp_path / "weights"))
    assert run("--fer2013", fer2013, *QUICK) == 0
    first = capsys.readouterr().out
    assert "vgg19_fer2013.safetensors: epoch" in first
    assert "PublicTest:  accuracy 0." in first
    assert "PrivateTest: accuracy 0." in first
    model = face_appearance()
    assert isinstance(model, AppearanceModel)
    assert model.features(list(np.zeros((2, 48, 48), np.uint8))).shape == (2, 16)
    assert run("--fer2013", fer2013, *QUICK) == 0
    again = capsys.readouterr().out
    assert "was there already" in again
    assert again.splitlines()[1:] == first.splitlines()[1:]


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(door, fer2013, tmp_path):
    long = ("--epochs", 12, "--batch", 14, "--width", 2, "--accelerator", "cpu")
    whole = door("pretrain", "--fer2013", fer2013, "--out", "whole.safetensors", *long)
    assert whole.returncode == 0, whole.stderr
    command = ["-m", "seizurelit.pretrain", "--fer2013", fer2013, "--out", "killed.safetensors", *long]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    checkpoint = tmp_path / "killed.safetensors.training" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    done = door("pretrain", "--fer2013", fer2013, "--out", "killed.safetensors", *long)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.slow
def test_two_devices_share_the_batches(door, fer2013, tmp_path):
    done = door("pretrain", "--fer2013", fer2013, "--out", "two.safetensors", *QUICK, "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PrivateTest:") == 1
    assert face_appearance(tmp_path / "two.safetensors").features([np.zeros((48, 48), np.uint8)]).shape == (1, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fer2013", "none.csv"], "none.csv: No such file or directory; give the path of fer2013.csv"),
        ([], "fer2013"),
        (["--fer2013", "none.csv", "--epochs", "0"], "--epochs 0: give 1 or more"),
        (["--fer2013", "none.csv", "--out", "w.pth"], "--out w.pth: give a file whose name ends with .safetensors"),
        (["--fer2013", "none.csv", "--width", "x"], "width"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_line(fer2013, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("--fer2013", fer2013, "--out", tmp_path / "file" / "w.safetensors") == 2
    assert "give a file in a folder that can be written" in capsys.readouterr().err


def test_help_is_quick_and_imports_no_torch(tmp_path):
    code = (
        "import sys; from seizurelit.pretrain import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in ("--fer2013", "--out", "--epochs", "--precision", "--devices"))
