"""Names that leave the machine."""

from __future__ import annotations

import doctest
import getpass
import multiprocessing
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.errors import InputError
from seizurelit.tracking import pseudonyms
from seizurelit.tracking.pseudonyms import WITHHELD, Veil, key_file, pseudonym, read_key

KEY = bytes(range(32))


def test_examples():
    assert doctest.testmod(pseudonyms).failed == 0


def test_the_key_is_made_once_private_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "pseudonym.key"
    monkeypatch.setenv("SEIZURELIT_KEY_FILE", str(path))
    assert key_file() == path
    key = read_key()
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key() == key
    assert [entry.name for entry in path.parent.iterdir()] == ["pseudonym.key"]


def test_the_key_lies_in_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SEIZURELIT_KEY_FILE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert key_file() == tmp_path / "seizurelit" / "pseudonym.key"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert key_file() == Path.home() / ".local/share/seizurelit/pseudonym.key"


def test_processes_that_make_the_key_at_once_agree(tmp_path):
    path = tmp_path / "pseudonym.key"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        keys = pool.map(read_key, [path] * 8)
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [("", 0o600, "holds no key"), ("not hex", 0o600, "holds no key"), ("ab" * 32, 0o644, "chmod 600")],
)
def test_an_unusable_key_is_refused_with_the_remedy(tmp_path, content, mode, says):
    path = tmp_path / "pseudonym.key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(InputError, match=says) as caught:
        read_key(path)
    assert str(path) in str(caught.value)


def test_a_key_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="SEIZURELIT_KEY_FILE"):
        read_key(tmp_path / "file" / "pseudonym.key")


def test_another_key_gives_other_names():
    assert pseudonym("sub-03", KEY) != pseudonym("sub-03", bytes(32))
    assert pseudonym("sub-03", KEY) != pseudonym("sub-04", KEY)


names = st.text(st.characters(categories=["L", "N"], include_characters="-_ "), min_size=4, max_size=20).filter(
    lambda name: name.strip() and not name.strip().isdigit() and any(letter.isalpha() for letter in name)
)


@given(names=st.lists(names, min_size=1, max_size=4), around=st.tuples(st.text(max_size=5), st.text(max_size=5)))
def test_no_name_of_four_characters_survives_anywhere(names, around):
    veil = Veil(names, KEY)
    for name in names:
        text = f"{around[0]}{name}{around[1]}"
        assert name not in veil.text(text).replace(veil.name(name), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dystonia/pose/agcn/seed-0/sub-03", "dystonia/pose/agcn/seed-0/{sub-03}"),
        ("dystonia/pose/agcn/seed-0/SUB-03_sz1", "dystonia/pose/agcn/seed-0/{sub-03}_sz1"),
        ("dystonia/pose/agcn/seed-0/1", "dystonia/pose/agcn/seed-0/{1}"),
        ("seed-1, lr 0.1", "seed-1, lr 0.1"),
        ("fold AB of 19", "fold {AB} of 19"),
        ("AB_2, cab", "{AB}_2, cab"),
        ("cannot read /data/clinic 3/x.mp4\nnext line", f"cannot read {WITHHELD}\nnext line"),
        ("~/videos", WITHHELD),
        ("../videos/x", WITHHELD),
        (r"C:\clinic\x.avi", WITHHELD),
        ("file:///srv/x", WITHHELD),
        ("n/a, true / false, m/s", "n/a, true / false, m/s"),
    ],
)
def test_text(text, expected):
    veil = Veil(["sub-03", "1", "AB"], KEY)
    for name in ("sub-03", "1", "AB"):
        expected = expected.replace("{" + name + "}", veil.name(name))
    assert veil.text(text) == expected


def test_a_longer_name_is_not_cut_by_a_shorter_one():
    veil = Veil(["sub-1", "sub-11"], KEY)
    assert veil.text("sub-11") == veil.name("sub-11")


def test_host_and_user_are_withheld():
    veil = Veil([], KEY)
    host = socket.gethostname()
    if host != "localhost":
        assert host not in veil.text(f"on {host}, done")
    if getpass.getuser() != "root":
        assert veil.text(f"by {getpass.getuser()}") == f"by {WITHHELD}"


def test_values_are_veiled_to_the_last_key():
    veil = Veil(["sub-03"], KEY)
    shown = veil.value(
        {"sub-03": [Path("/x/y"), {"a": ("sub-03", 1.5, None, True)}], "n": np.float32(0.5), "k": np.int64(3)}
    )
    assert shown == {veil.name("sub-03"): [WITHHELD, {"a": [veil.name("sub-03"), 1.5, None, True]}], "n": 0.5, "k": 3}
    assert type(shown["k"]) is int
    with pytest.raises(TypeError, match="not for outside"):
        veil.value({"a": object()})
