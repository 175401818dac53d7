"""A tiny real run whose cohort has hostile names, and a headless Chromium to read its report in."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

NAMES = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")

# It asks nobody for anything: no updates, no telemetry, no first run.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """One page of a Chromium.

    Args:
        program: of the browser.
        profile: an empty folder.
    """

    def __init__(self, program: str, profile: Path) -> None:
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        command = [
            program,
            *FLAGS,
            f"--user-data-dir={profile}",
        ]
        # The browser reads from 3 and writes to 4; bash, as dash knows no file descriptor above 9.
        shell = ["bash", "-c", f'exec 3<&{there} 4>&{back}; exec "$@"', "bash", *command]
        self._process = subprocess.Popen(shell, pass_fds=(there, back), stderr=subprocess.DEVNULL)
        os.close(there)
        os.close(back)
        self._buffer = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and wait for its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        found = json.loads(message)
        assert isinstance(found, dict)
        return found

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """What an expression is in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < until, script
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click into the middle of the first element, with the mouse."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        """Press a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def look(self, *, width: int = 1280, height: int = 1000, dark: bool = False, media: str = "screen") -> None:
        """Set the window and the colours that the reader prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", media=media, features=scheme)

    def picture(self, path: Path) -> None:
        """A screenshot of what is in the window."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    @property
    def complaints(self) -> list[str]:
        """What stands in the console since the page was opened: errors, warnings, exceptions, what a policy refused."""
        self.run("0")
        kept = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                kept.append(str(params["entry"]["text"]))
            elif event.get("method") in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
                kept.append(str(params))
        return kept

    @property
    def requests(self) -> list[str]:
        """What the page has asked for, itself and what it brings along left away."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def close(self) -> None:
        """End the browser."""
        self._session = None
        with contextlib.suppress(OSError, AssertionError):
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for end in (self._read, self._write):
            os.close(end)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, or none and the reason."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"no headless Chromium ({', '.join(NAMES)}) is on the PATH; apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason + ": CI must have it")
        pytest.skip(reason)
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


QUICK = {
    "windows.frames": 20,
    "windows.stride": 20,
    "windows.per_seizure": 1,
    "agcn.variant": "small",
    "optimiser.epochs": 2,
    "tcn.levels": 1,
    "tcn.channels": 4,
}
PERSON, HOSTILE, RATER = "Erika Mustermann", "<img src=x onerror=alert(1)>", "Hans Beispiel"
NOTE = "</script><script>alert(2)</script> see /mnt/ward7/Mustermann.docx"
FRAMES, FPS = 60, 10.0


def _points(rng: np.random.Generator, lively: bool) -> np.ndarray:
    """(T, V, C) of the skeleton below: a torso, and a hand that moves more where the sign is present."""
    hip = np.stack([np.linspace(200, 300, FRAMES), np.linspace(400, 410, FRAMES)], axis=-1)
    hand = hip + rng.normal(0, 60 if lively else 20, (FRAMES, 2))
    xy = np.stack([hip, hip - [0, 100], hand], axis=1)
    return np.concatenate([xy, np.where(rng.random((FRAMES, 3, 1)) < 0.1, 0.0, 0.9)], axis=-1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a sign, all models (TCNp with two seeds), eight subjects: a seizure is not rated, one has no face.

    Its cohort has a patient's name, markup in names and notes, a video, and two raters who are named.
    """
    from seizurelit.config import MODELS, STREAMS, Training, with_overrides
    from seizurelit.ingestion.ingest import ingest
    from seizurelit.ingestion.options import Ingest
    from seizurelit.loso.options import RunOptions
    from seizurelit.loso.run import run_table

    root = tmp_path_factory.mktemp("reported")
    subjects = [PERSON, HOSTILE, *(f"sub-{number}" for number in range(1, 7))]
    rows = []
    for place, subject in enumerate(subjects):
        sex, lobe = "FM"[place % 2], "frontal" if place < 6 else "temporal"
        for number in range(1 + (place < 3)):
            label = "" if (place, number) == (2, 1) else str((place + number) % 2)
            name = f"{subject} {number + 1}"
            video = "ward-films/Mustermann 1.avi" if (place, number) == (0, 0) else ""
            rows.append((subject, name, video, sex, str(8 + 6 * place), lobe, label, NOTE if place == 0 else ""))
    header = ("subject", "seizure", "video", "sex", "age_at_onset", "ez_lobe", "dystonia", "note")
    quoted = ['"' + '","'.join(cells) + '"' for cells in (header, *rows)]
    (root / "cohort.csv").write_text("\n".join(quoted) + "\n")
    (root / "ward-films").mkdir()
    (root / "ward-films" / "Mustermann 1.avi").write_bytes(b"no film")
    opinions = [
        f'"{row[1]}",dystonia,{rater},{row[6]},1.5,4.0'
        for row in rows[:4]
        for rater in (RATER, "Second Rater")
        if row[6]
    ]
    (root / "labels.csv").write_text("\n".join(["seizure,sign,rater,value,onset,offset", *opinions]) + "\n")
    skeleton = {
        "name": "three",
        "joints": ["hip", "neck", "hand"],
        "bones": [["neck", "hip"], ["hand", "neck"]],
        "root": "hip",
        "scale": ["hip", "neck"],
        "flip": [],
        "channels": ["x", "y", "confidence"],
        "fps": FPS,
    }
    (root / "skeleton.yaml").write_text(yaml.safe_dump(skeleton))
    for seed, stream in enumerate(STREAMS):
        rng = np.random.default_rng(seed)
        for kind in ("keypoints", "features"):
            (root / stream / kind).mkdir(parents=True)
        for row in rows:
            if (stream, row[1]) != ("face", f"{PERSON} 2"):
                np.save(root / stream / "keypoints" / f"{row[1]}.npy", _points(rng, row[6] == "1"))
                features = rng.normal(row[6] == "1", 1, (FRAMES // 2, 6))
                np.save(root / stream / "features" / f"{row[1]}.npy", features)
        ingest(
            Ingest(
                cache=root / "cache",
                keypoints=root / stream / "keypoints",
                cohort=root / "cohort.csv",
                skeleton=str(root / "skeleton.yaml"),
                stream="pose" if stream == "pose" else "face",
                appearance=root / stream / "features",
                appearance_fps=FPS / 2,
            )
        )
    options = RunOptions(
        cache=root / "cache",
        cohort=root / "cohort.csv",
        out=root / "run",
        seeds=1,
        preset="fast",
        workers=1,
        wandb="off",
    )
    training = with_overrides(Training(), QUICK)
    run_table(options, training, ("dystonia",), STREAMS, MODELS)
    run_table(dataclasses.replace(options, seeds=2), training, ("dystonia",), ("pose",), ("tcn",))
    return root / "run"


@pytest.fixture(scope="session")
def explained(finished: Path) -> Path:
    """The run with the grounds of two of its models."""
    pytest.importorskip("captum")
    from seizurelit.explanation.run import explain_run

    for model in ("agcn", "tcn"):
        explain_run(finished, model=model, say=lambda line: None)
    return finished


@pytest.fixture(scope="session")
def reported(explained: Path) -> Path:
    """The run with all that `report` writes, grounds among it."""
    from seizurelit.report import main

    assert main([str(explained)]) == 0
    return explained
