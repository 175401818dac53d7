"""From videos to the cache and on to a table, through the front doors, on real clips."""

import errno
import os
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("mediapipe", reason="MediaPipe is not installed")

from seizurelit.cache.store import Cache
from seizurelit.cli import run_door
from seizurelit.extract import main as extract_door

ROWS = (
    "lifter,clean,mmskeleton_clean_and_jerk.mp4,0,0.8,1",
    "dancer,chi,mmskeleton_ta_chi.mp4,1,1.8,0",
    "face,smile,pyfeat_single_face.mp4,0,0.8,1",
    "film,title,pyfeat_noface_face.mov,0.2,0.8,0",
)


def cohort(folder, rows, columns="subject,seizure,video,start,end,dystonia"):
    path = folder / "cohort.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def extract(cwd, *arguments, browser=""):
    own = ("--without", "appearance", "--backend", "mediapipe")  # whatever else is installed
    command = [sys.executable, "-m", "seizurelit.extract", *map(str, arguments), *own]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160", "BROWSER": browser}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = Path(__file__).parents[2] / "shared" / "data" / "clips"
    if not folder.is_dir():
        pytest.skip(f"no clips at {folder}")
    return folder


@pytest.fixture(scope="module")
def extracted(clips, tmp_path_factory):
    """Four good seizures and five bad ones, extracted by two workers."""
    folder = tmp_path_factory.mktemp("extracted")
    videos = folder / "videos"
    videos.mkdir()
    for clip in clips.iterdir():
        (videos / clip.name).symlink_to(clip)
    (videos / "text.mp4").write_text("this is no video\n" * 99)
    (videos / "empty.mpg").touch()
    (videos / "folder.avi").mkdir()
    bad = (
        "p5,absent,nowhere.mp4,,,1",
        "p6,text,text.mp4,,,0",
        "p7,empty,empty.mpg,,,1",
        "p8,folder,folder.avi,,,0",
        "lifter,late,mmskeleton_clean_and_jerk.mp4,50,60,1",
    )
    cohort(videos, (*ROWS, *bad))
    done = extract(folder, "--cohort", "videos/cohort.csv", "--cache", "cache", "--workers", 2)
    return folder, done


def test_good_seizures_are_extracted_and_bad_ones_listed(extracted):
    folder, done = extracted
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "4 of 9 seizures" in done.stdout
    listed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in listed] == ["absent", "text", "empty", "folder", "late"]
    assert all(
        word in line
        for word, line in zip(("no such file", "text.mp4", "empty", "folder", "past the end"), listed, strict=True)
    )
    cache = Cache.open(folder / "cache")
    assert cache.seizures("pose") == cache.seizures("face") == ("chi", "clean", "smile", "title")
    assert "GetPrototype" not in done.stderr
    page = folder / "cache" / "extraction" / "index.html"
    assert str(page.relative_to(folder)) in done.stdout
    assert all(name in page.read_text() for name in ("clean", "smile", "absent"))


def test_what_is_found_is_where_it_is(extracted):
    cache = Cache.open(extracted[0] / "cache")
    pose, face = cache.read("clean", "pose"), cache.read("smile", "face")
    assert pose["pose.keypoints"].shape == (20, 11, 3)
    joints = dict(zip(pose.metadata.skeleton.joints, np.nanmedian(pose["pose.keypoints"], axis=0), strict=True))
    assert joints["head"][1] > joints["neck"][1] > 0.2 > joints["pelvis"][1]
    assert joints["left shoulder"][0] > joints["right shoulder"][0], (
        "who faces the camera has the left at the image's right"
    )
    assert 0.3 < np.linalg.norm(joints["neck"]) < 0.8, "metres"
    facts = pose.metadata.facts
    assert (facts["width"], facts["height"], facts["container"], facts["codec"]) == (455, 256, "mp4", "h264")
    assert (facts["frames_expected"], facts["people"], facts["patient_share"]) == (20, 1, 1)
    assert not facts["greyscale"]
    assert not facts["ambiguous"]
    assert face.metadata.facts["face_share"] == 1
    landmarks = dict(zip(face.metadata.skeleton.joints, np.median(face["face.keypoints"], axis=0), strict=True))
    width, height = np.median(face["face.box"][:, 2:] - face["face.box"][:, :2], axis=0)
    assert (
        0
        < landmarks["ibug-36"][0]
        < landmarks["ibug-39"][0]
        < landmarks["ibug-42"][0]
        < landmarks["ibug-45"][0]
        < width
    )
    assert (
        landmarks["ibug-19"][1] < landmarks["ibug-37"][1] < landmarks["ibug-30"][1] < landmarks["ibug-57"][1] < height
    )
    title = cache.metadata("title", "pose").facts
    assert (title["people"], title["patient_share"], title["face_share"]) == (0, 0, 0)


def test_the_number_of_workers_does_not_change_a_bit(extracted):
    folder, _ = extracted
    alone = extract(folder, "--cohort", "videos/cohort.csv", "--cache", "alone", "--workers", 1)
    assert alone.returncode == 1, alone.stderr
    paths = sorted((folder / "cache").glob("*.safetensors"))
    assert len(paths) == 8
    for path in paths:
        assert path.read_bytes() == (folder / "alone" / path.name).read_bytes(), path.name


def test_only_what_changed_is_extracted_again(extracted, tmp_path):
    folder, _ = extracted
    shutil.copytree(folder / "cache", tmp_path / "cache")
    videos = folder / "videos"
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.safetensors")}
    (tmp_path / "cache" / "chi.face.safetensors").unlink()
    rows = [ROWS[0], ROWS[1], ROWS[2].replace("0,0.8", "0,0.6"), ROWS[3]]
    path = cohort(tmp_path, rows)
    again = extract(tmp_path, "--cohort", path, "--cache", "cache", "--videos", videos)
    assert again.returncode == 0, again.stderr
    assert "4 of 4 seizures are extracted, 2 of them before" in again.stdout
    new = {
        path.name for path in (tmp_path / "cache").glob("*.safetensors") if path.stat().st_mtime_ns != kept[path.name]
    }
    assert new == {"chi.pose.safetensors", "chi.face.safetensors", "smile.pose.safetensors", "smile.face.safetensors"}
    assert len(Cache.open(tmp_path / "cache").read("smile", "face")["face.box"]) == 15
    once_more = extract(tmp_path, "--cohort", path, "--cache", "cache", "--videos", videos)
    assert "4 of them before" in once_more.stdout


def test_what_a_person_corrected_is_not_overwritten(extracted, tmp_path):
    import dataclasses

    from seizurelit.cache.tensors import SeizureTensors

    folder, _ = extracted
    shutil.copytree(folder / "cache", tmp_path / "cache")
    cache = Cache.open(tmp_path / "cache")
    read = cache.read("clean", "pose")
    cache.write(SeizureTensors(dataclasses.replace(read.metadata, extractor="mediapipe, corrected"), read.tensors))
    before = cache.path("clean", "pose").read_bytes()
    path = cohort(tmp_path, [ROWS[0]])
    for name in ("chi", "smile", "title"):
        for stream in ("pose", "face"):
            cache.path(name, stream).unlink()
    same = extract(tmp_path, "--cohort", path, "--cache", "cache", "--videos", folder / "videos")
    assert same.returncode == 0, same.stderr
    other = extract(tmp_path, "--cohort", path, "--cache", "cache", "--videos", folder / "videos", "--detect_every", 5)
    assert other.returncode == 1
    assert "was corrected by a person" in other.stderr
    assert cache.path("clean", "pose").read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "columns", "arguments", "says"),
    [
        (["a,s,x.mp4,1 2 3"], "subject,seizure,video,patient_box", (), "row 2: patient_box '1 2 3'"),
        (["a,s"], "subject,seizure", (), "video"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--videos", "nowhere"), "--videos nowhere"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--workers", 0), "--workers 0"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--fold", "b"), "--fold b"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--backend", "torchvision"), "keypointrcnn"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--backend", "openmmlab"), "openmmlab"),
        (["a,s,x.mp4"], "subject,seizure,video", ("--appearance_fps", 7), "--appearance_fps 7"),
    ],
)
def test_what_cannot_be_meant_gets_one_line_and_code_2(tmp_path, monkeypatch, capsys, rows, columns, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEIZURELIT_WEIGHTS", str(tmp_path / "weights"))
    path = cohort(tmp_path, rows, columns)
    with pytest.raises(SystemExit) as left:
        run_door(extract_door, [str(word) for word in ("--cohort", path, "--cache", "cache", *arguments)])
    shown = capsys.readouterr().err
    assert left.value.code == 2, shown
    assert says in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_one_clear_line(clips, tmp_path, monkeypatch):
    from seizurelit.errors import RunError
    from seizurelit.extraction.job import Plan, extract_seizure
    from seizurelit.extraction.options import Settings

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seizurelit.cache.store.write_whole", full)
    with pytest.raises(RunError, match="the disk is full; make room"):
        extract_seizure(
            tmp_path,
            seizure="s",
            subject="p",
            video=str(clips / "pyfeat_single_face.mp4"),
            part=(0.0, 0.2),
            patient_box=None,
            cache=str(tmp_path / "cache"),
            plan=Plan("mediapipe", Settings(("pose",)), ()),
            device="cpu",
            key="",
        )


def test_help_is_there_and_imports_nothing_heavy(tmp_path):
    done = extract(tmp_path, "--help")
    assert done.returncode == 0
    assert "Research use only" in " ".join(done.stdout.split())
    heavy = "{'torch', 'cv2', 'av', 'mediapipe', 'scipy', 'pandas'} & set(sys.modules)"
    code = f"import sys, seizurelit.extract; print({heavy})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )


def write(path, pictures, codec, *, size=None, rate=25, pixels="yuv420p", container=None):
    """A video of pictures (PyAV frames), with a key frame every half second."""
    width, height = size or (pictures[0].width // 2 * 2, pictures[0].height // 2 * 2)
    with av.open(str(path), "w", format="vob" if path.suffix == ".mpg" else None, options=container or {}) as made:
        stream = made.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.bit_rate, stream.codec_context.gop_size = 2_000_000, 12
        for index, picture in enumerate(pictures):
            frame = picture.reformat(width, height, pixels)
            frame.pts, frame.time_base = index, Fraction(1, rate)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return path


def cut(path, name, damage=0):
    """A copy of a file without its last third, or with so many wrong bytes in its middle."""
    content = bytearray(path.read_bytes())
    if damage:
        middle = len(content) // 2
        content[middle : middle + damage] = np.random.default_rng(1).bytes(damage)
    else:
        del content[len(content) * 2 // 3 :]
    path.with_name(name).write_bytes(content)


@pytest.fixture(scope="module")
def damaged(clips, tmp_path_factory):
    """A folder of videos as they should not be, extracted by one command without a cohort.csv."""
    folder = tmp_path_factory.mktemp("damaged")
    videos = folder / "videos"
    videos.mkdir()
    with av.open(str(clips / "mmskeleton_clean_and_jerk.mp4")) as container:
        lifter = [frame for _, frame in zip(range(40), container.decode(video=0), strict=False)]
    whole = {
        "mpg": write(videos / "w.mpg", lifter, "mpeg2video"),
        "avi": write(videos / "w.avi", lifter, "mpeg4"),
        "mp4": write(videos / "w.mp4", lifter, "libx264", container={"movflags": "faststart"}),
    }
    for suffix, path in whole.items():
        cut(path, f"short-{suffix}.{suffix}")
        cut(path, f"wrong-{suffix}.{suffix}", damage=2500)
        path.unlink()
    cut(write(videos / "w.mp4", lifter, "libx264"), "no-index.mp4")
    (videos / "w.mp4").unlink()
    write(videos / "nobody.mp4", [av.VideoFrame(352, 288, "gray")] * 15, "libx264")
    write(videos / "odd.avi", lifter[:15], "mjpeg", size=(353, 287), pixels="yuvj444p")
    write(videos / "fast.mp4", lifter, "libx264", rate=120)
    turned = [av.VideoFrame.from_ndarray(np.rot90(frame.to_ndarray(format="rgb24")).copy()) for frame in lifter[:15]]
    phone = write(videos / "phone.mp4", turned, "libx264")
    content = bytearray(phone.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # to be turned for viewing
    phone.write_bytes(content)
    with av.open(str(videos / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, index * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (videos / "two people").mkdir()
    (videos / "two people" / "all along.mp4").symlink_to(clips / "pose2sim_multi_cam01.mp4")
    done = extract(folder, "--cohort", "videos", "--cache", "cache", "--open_page", "true", browser="echo opened %s")
    return folder, done


def test_a_folder_of_damaged_videos_gives_what_can_be_had_and_says_the_rest(damaged):
    folder, done = damaged
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "[h264" not in done.stderr, "what FFmpeg says of damage is in the facts"
    assert "13 videos of 13 subjects" in done.stderr
    assert "11 of 13 seizures are extracted" in done.stdout
    listed = {line.split(": ")[1]: line for line in done.stderr.splitlines() if line.startswith("failed: ")}
    assert set(listed) == {"no-index", "sound"}
    assert "cut short" in listed["no-index"]
    assert "sound alone" in listed["sound"]
    cache = Cache.open(folder / "cache")
    facts = {name: cache.metadata(name, "pose").facts for name in cache.seizures("pose")}
    for suffix in ("mpg", "avi", "mp4"):
        short, wrong = facts[f"short-{suffix}"], facts[f"wrong-{suffix}"]
        assert short["decoding_faults"]
        assert short["ended_early"] == (suffix != "mpg"), "an MPG has no header that says how long it is"
        assert wrong["decoding_faults"]
        assert wrong["frames_expected"] == 40
        assert 0 < wrong["frames_repeated"] < 20
        assert short["patient_share"] == wrong["patient_share"] == 1
    assert (facts["odd"]["width"], facts["odd"]["height"], facts["odd"]["patient_share"]) == (353, 287, 1)
    assert (facts["phone"]["width"], facts["phone"]["height"], facts["phone"]["patient_share"]) == (340, 256, 1)
    assert facts["fast"]["frames_expected"] == 9, "40 pictures at 120 a second"


def test_whom_a_person_should_look_at_is_listed_and_the_page_is_opened(damaged):
    folder, done = damaged
    look = {line.split(": ")[1]: line for line in done.stderr.splitlines() if line.startswith("look: ")}
    assert set(look) == {
        "nobody",
        "all along",
        *(f"{how}-{s}" for how in ("short", "wrong") for s in ("mpg", "avi", "mp4")),
    }
    assert "patient in 0 %" in look["nobody"]
    assert "who is the patient is ambiguous" in look["all along"]
    assert "give patient_box" in look["all along"]
    page = folder / "cache" / "extraction" / "index.html"
    assert f"opened {page.as_uri()}" in done.stdout
    rows = (folder / "cache" / "cohort.csv").read_text().splitlines()
    assert {"two people,all along,two people/all along.mp4", "fast,fast,fast.mp4"} < set(rows)


def test_a_folder_whose_cohort_was_completed_keeps_its_labels(damaged, tmp_path):
    folder, _ = damaged
    shutil.copytree(folder / "cache", tmp_path / "cache")
    table = tmp_path / "cache" / "cohort.csv"
    lines = [line for line in table.read_text().splitlines() if "sound" not in line and "no-index" not in line]
    table.write_text("\n".join([lines[0] + ",dystonia", *(line + ",1" for line in lines[1:])]) + "\n")
    before = table.read_bytes()
    again = extract(tmp_path, "--cohort", folder / "videos", "--cache", "cache")
    assert again.returncode == 0, again.stderr
    assert "11 of 11 seizures are extracted, 11 of them before" in again.stdout
    assert f"2 videos are not in {Path('cache/cohort.csv')} and are left out" in again.stderr
    assert table.read_bytes() == before


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    done = extract(tmp_path, "--cohort", ".", "--cache", "cache")
    assert done.returncode == 2
    assert "has no video (.3gp" in done.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.EACCES, 2, "error: /data/cache: Permission denied; check the path"),
        (errno.EROFS, 2, "error: /data/cache: Read-only file system; check the path"),
        (errno.ENOSPC, 1, "error: /data/cache: the disk is full; make room"),
    ],
)
def test_what_the_disk_refuses_is_one_line(capsys, number, code, says):
    def main(argv):
        raise OSError(number, os.strerror(number), "/data/cache")

    with pytest.raises(SystemExit) as left:
        run_door(main, [])
    assert left.value.code == code
    assert capsys.readouterr().err.startswith(says)


@pytest.mark.slow
def test_a_cohort_of_clips_goes_on_through_fit_to_a_table(clips, door, tmp_path):
    rows = [
        f"{name},{name}-{half},{clip},{start},{start + 1},{label}"
        for name, clip, label in (
            ("lifter", "mmskeleton_clean_and_jerk.mp4", 1),
            ("dancer", "mmskeleton_ta_chi.mp4", 0),
            ("smiler", "pyfeat_single_face.mp4", 1),
            ("actress", "pyfeat_WolfgangLanger_Pexels.mp4", 0),
        )
        for half, start in (("a", 0), ("b", 1))
    ]
    path = cohort(tmp_path, rows)
    done = door("extract", "--cohort", path, "--cache", "cache", "--videos", clips, "--backend", "mediapipe")
    assert done.returncode == 0, done.stderr
    quick = ("--windows.frames", 25, "--windows.per_seizure", 1, "--windows.stride", 25, "--optimiser.epochs", 2)
    fitted = door(
        "fit", "--stream", "pose", "--cache", "cache", "--out", "run", "--preset", "fast", "--wandb", "off", *quick
    )
    assert fitted.returncode == 0, fitted.stderr
    assert "AGCNp" in fitted.stdout
    assert "no pose appearance" in fitted.stdout
    assert "STAND-IN" not in fitted.stdout
    assert set(pd.read_csv(tmp_path / "run" / "predictions.csv")["subject"]) == {
        "lifter",
        "dancer",
        "smiler",
        "actress",
    }


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["ray", "slurm"])
def test_a_cluster_extracts_the_same_tensors(scheduler, clips, tmp_path):
    pytest.importorskip("ray" if scheduler == "ray" else "submitit", reason="make env-cluster installs it")
    table = cohort(tmp_path, ROWS[:2])
    given = ("--cohort", table, "--videos", clips, "--cache")
    cluster = ("--scheduler", "ray") if scheduler == "ray" else ("--scheduler", "slurm", "--slurm", "{cluster: local}")
    assert extract(tmp_path, *given, "here").returncode == 0
    done = extract(tmp_path, *given, "there", *cluster)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 seizures" in done.stdout
    for path in (tmp_path / "here").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()
    assert "2 of them before" in extract(tmp_path, *given, "there").stdout
    sent = extract(tmp_path, *given, "elsewhere", "--scheduler", "ray", "--ray-files", "shipped")
    assert sent.returncode == 2
    assert "a folder that every node has under the same path" in sent.stderr
