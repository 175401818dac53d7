"""The cohort as it is read: what is taken, what is refused, and that every fault is told with its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from seizurelit.cohort.manifest import Sign, read_cohort, write_cohort
from seizurelit.errors import InputError

GOOD = """subject,seizure,video,start,end,sex,ez_lobe,dystonia,emotion,limb
sub-01,s1,a.mpg,0,40,F,frontal,1,,arm
sub-01,s2,a.mpg,50,90.5,F,frontal,0,0,
sub-02,s3,b.mpg,,,M,,0,1,leg
sub-03,s4,c.avi,,60,M,temporal,1,1,leg
sub-04,s5,,,,,temporal,,0,arm
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.csv"
    path.write_text(GOOD)
    return path


def test_reads_what_is_there(good: Path) -> None:
    cohort = read_cohort(good)
    first, second, *_, last = cohort.seizures
    assert (first.name, first.subject, first.video, first.start, first.end, first.row) == (
        "s1",
        "sub-01",
        "a.mpg",
        0,
        40,
        2,
    )
    assert (second.start, second.end) == (50, 90.5)
    assert last.source is None
    assert cohort.subjects == ("sub-01", "sub-02", "sub-03", "sub-04")
    assert cohort.columns == ("sex", "ez_lobe", "dystonia", "emotion", "limb")
    assert cohort.column("ez_lobe") == {"s1": "frontal", "s2": "frontal", "s3": "", "s4": "temporal", "s5": "temporal"}
    assert not cohort.is_standin


def test_signs_and_unrated(good: Path) -> None:
    cohort = read_cohort(good)
    dystonia = cohort.sign("dystonia")
    assert dystonia == Sign("dystonia", ("0", "1"))
    assert dystonia.binary
    assert dystonia.positive == "1"
    assert cohort.labels(dystonia) == {"s1": 1, "s2": 0, "s3": 0, "s4": 1}
    assert cohort.unrated(dystonia) == ("s5",)
    limb = cohort.sign("limb")
    assert limb.classes == ("arm", "leg")
    assert not limb.binary
    assert cohort.labels(limb) == {"s1": 0, "s3": 1, "s4": 1, "s5": 0}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dystonya", "is no column; signs can be sex, dystonia"),
        ("subject", "says which seizure a row is"),
        ("ez_lobe", "has fewer than 2 subjects of class 'frontal' (1)"),
    ],
)
def test_what_cannot_be_a_sign(good: Path, name: str, words: str) -> None:
    text = good.read_text().replace("sub-04,s5,,,,,", "sub-04,s5,,,,F,")
    good.write_text(text)
    with pytest.raises(InputError) as caught:
        read_cohort(good).sign(name)
    assert words in str(caught.value)
    assert len(caught.value.faults) == 1


def test_digest_is_of_the_content(good: Path, tmp_path: Path) -> None:
    digest = read_cohort(good).digest
    header, *rows = GOOD.splitlines()
    other = tmp_path / "elsewhere" / "cohort.csv"
    other.parent.mkdir()
    other.write_text("\n".join([header, *reversed(rows)]).replace("a.mpg", "/mnt/video/a.mpg"))
    assert read_cohort(other).digest == digest
    other.write_text(GOOD.replace("s3,b.mpg,,,M,,0", "s3,b.mpg,,,M,,1"))
    assert read_cohort(other).digest != digest


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda text: ("\ufeff" + text).encode(), id="byte order mark"),
        pytest.param(lambda text: text.replace(",", ";").encode(), id="semicolons"),
        pytest.param(lambda text: text.replace(",", "\t").encode(), id="tabs"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="Windows line ends"),
        pytest.param(
            lambda text: ("\n" + text.replace("\n", ",,\n") + ",,,,,,,,,,,\n\n").encode(), id="empty columns and rows"
        ),
        pytest.param(lambda text: text.replace("sub-01,", '" sub-01 ",').encode(), id="quotes and blanks"),
    ],
)
def test_reads_what_is_unambiguous(good: Path, form) -> None:
    digest = read_cohort(good).digest
    good.write_bytes(form(GOOD))
    assert read_cohort(good).digest == digest


def test_participants(good: Path) -> None:
    (good.parent / "participants.tsv").write_text(
        "participant_id\tsex\thand\n01\tF\tright\nsub-02\tn/a\tn/a\nsub-99\tM\tleft\n"
    )
    cohort = read_cohort(good)
    assert cohort.columns[-1] == "hand"
    assert cohort.column("hand") == {"s1": "right", "s2": "right", "s3": "", "s4": "", "s5": ""}
    assert cohort.column("sex")["s3"] == "M"


def test_participants_faults(good: Path) -> None:
    path = good.parent / "participants.tsv"
    path.write_text("participant_id\tsex\tseizure\n01\tM\tx\nsub-01\tF\tx\n")
    with pytest.raises(InputError) as caught:
        read_cohort(good)
    text = str(caught.value)
    assert f"{path}, row 3: participant 'sub-01' is in row 2 already" in text
    assert f"{good}, row 2: sex of subject 'sub-01' is 'F', but 'M' in {path}, row 2" in text
    assert f"{path}, row 1: column 'seizure' belongs into" in text


def test_source_is_asked_for(good: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_cohort(good, source="video")
    assert caught.value.faults == (f"{good}, row 6: no video; give its path, seen from the folder of the table",)
    with pytest.raises(InputError, match="no column 'file'"):
        read_cohort(good, source="file")


def test_resolve(good: Path) -> None:
    first = read_cohort(good).seizures[0]
    assert first.resolve(good.parent) == good.parent / "a.mpg"
    with pytest.raises(InputError, match=r"row 2: .*a\.mpg does not exist"):
        first.resolve(good.parent, must_exist=True)


def test_stand_in_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    write_cohort(path, ("subject", "seizure", "stand_in", "note"), [("a", "s", 1, None), ("b", "t", 1, "x, y")])
    cohort = read_cohort(path)
    assert cohort.is_standin
    assert cohort.column("note") == {"s": "", "t": "x, y"}


def test_counts_are_no_slips(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    cells = ["0", "1", "1", "1", "2", "3", "5"]
    write_cohort(path, ("subject", "seizure", "per_day"), [(f"a{i}", f"s{i}", cell) for i, cell in enumerate(cells)])
    assert list(read_cohort(path).column("per_day").values()) == cells


# The ten worst files that we could think of; the README quotes what they get.
WORST = {
    "a spreadsheet under another name": (
        b"PK\x03\x04\x14\x00\x06\x00xl/workbook.xml",
        ["{path}: is a spreadsheet or zip file, not text; save it as 'CSV UTF-8'"],
    ),
    "saved on Windows": (
        "subject,seizure,dystonia\nP1,s1,1\nGro\u00dfmann,s2,0\nP3,cris\u00e9,1\n".encode("cp1252"),
        [
            "{path}, row 3: byte 0xdf is not UTF-8 (is 'Gro\u00dfmann,s2,0' meant?); save it as 'CSV UTF-8'",
            "{path}, row 4: byte 0xe9 is not UTF-8 (is 'P3,cris\u00e9,1' meant?); save it as 'CSV UTF-8'",
        ],
    ),
    "another header": (
        b"Subject,patient,dystonia,dystonia,\nP1,s1,1,1,x\n",
        [
            "{path}, row 1: there is no column 'subject'; rename 'Subject'",
            "{path}, row 1: there is no column 'seizure'; add it to the header, which has 'Subject, patient, dystonia, dystonia, '",
            "{path}, row 1: there are two columns 'dystonia'; delete or rename one",
            "{path}, row 1: column 5 has no name; name it or delete it",
        ],
    ),
    "a header and nothing": (
        b"subject,seizure,dystonia\n\n",
        ["{path}: there is a header but no row; write one row for each seizure"],
    ),
    "one patient under three names": (
        b"subject,seizure,dystonia\nsub-03,s1,1\nSub-03,s2,1\nsub-3,s3,1\nall,s4,0\n",
        [
            "{path}, row 3: subject 'Sub-03' is 'sub-03' in row 2, spelled otherwise, and would be trained on when "
            "it is tested on; write it one way, or rename one if they are two",
            "{path}, row 4: subject 'sub-3' is 'sub-03' in row 2, spelled otherwise, and would be trained on when "
            "it is tested on; write it one way, or rename one if they are two",
            "{path}, row 5: subject 'all' stands for every fold; rename it",
        ],
    ),
    "names that are paths": (
        b"subject,seizure,dystonia\n../etc,s/1,1\n.P2,,0\nP3,s\x073,1\nP4,s..4,0\nP5," + b"x" * 101 + b",1\n",
        [
            "{path}, row 2: subject '../etc' has a slash, and it becomes the name of a file; use - instead",
            "{path}, row 2: seizure 's/1' has a slash, and it becomes the name of a file; use - instead",
            "{path}, row 3: subject '.P2' starts with a dot, and it becomes the name of a file; leave the dot out",
            "{path}, row 3: seizure '' is empty; give it a name",
            "{path}, row 4: seizure 's\\x073' has a control character; write it anew",
            "{path}, row 5: seizure 's..4' has two dots in a row, and it becomes the name of a file; use - instead",
            "{path}, row 6: seizure '"
            + "x" * 40
            + "' is longer than 100 characters, and it becomes the name of a file; shorten it",
        ],
    ),
    "seizures twice, videos of two patients": (
        b"subject,seizure,video,dystonia\nP1,s1,a.avi,1\nP2,s1,a.avi,0\nP3,S1,c.avi,0\nP3,s4,c.avi,1\n",
        [
            "{path}, row 3: seizure 's1' is in row 2 already; every seizure needs its own name",
            "{path}, row 4: seizure 'S1' is, but for case or blanks, the 's1' that is in row 2 already; every seizure "
            "needs its own name",
            "{path}, row 3: video 'a.avi' is of subject 'P1' in row 2 and of 'P2' here; a file is of one subject",
            "{path}, row 5: the same part of video 'c.avi' as row 4; give start and end, or delete one of the two",
        ],
    ),
    "times": (
        b'subject,seizure,start,end,dystonia\nP1,s1,30,30,1\nP2,s2,-1,20,0\nP3,s3,1:30,"90,5",1\nP4,s4,soon,inf,0\nP5,s5,,0,1\n',
        [
            "{path}, row 2: start 30 s is not before end 30 s; correct one of them",
            "{path}, row 3: start '-1' is negative; count seconds from the start of the file",
            "{path}, row 4: start '1:30' is no number; write seconds, such as 90 for 1:30",
            "{path}, row 4: end '90,5' is no number; write the decimals after a point",
            "{path}, row 5: start 'soon' is no number; write seconds",
            "{path}, row 5: end 'inf' is not finite; write seconds, or leave it empty",
            "{path}, row 6: start 0 s is not before end 0 s; correct one of them",
        ],
    ),
    "labels that are no class": (
        b"subject,seizure,dystonia,emotion,limb,awake\nP1,s1,1,1.0,Arm,0\nP2,s2,2,0.0,arm ,NA\n"
        b"P3,s3,yes,1.0,leg,1\nP4,s4,0,,leg,?\nP5,s5,0,,leg,0\nP6,s6,1,,leg,0\n",
        [
            "{path}, row 3: dystonia is '2', where other rows have 0 or 1; write 0, 1, or nothing if not rated",
            "{path}, row 4: dystonia is 'yes', where other rows have 0 or 1; write 0, 1, or nothing if not rated",
            "{path}, row 2: emotion is '1.0', where other rows have 0 or 1; write 0, 1, or nothing if not rated",
            "{path}, row 3: emotion is '0.0', where other rows have 0 or 1; write 0, 1, or nothing if not rated",
            "{path}, row 4: emotion is '1.0', where other rows have 0 or 1; write 0, 1, or nothing if not rated",
            "{path}, row 3: limb is 'arm', but 'Arm' in row 2; write one class one way",
            "{path}, row 3: awake is 'NA'; leave it empty, an empty cell is not rated",
            "{path}, row 5: awake is '?'; leave it empty, or write the raters' opinions into labels.csv",
        ],
    ),
    "rows that are no rows, a patient who changes": (
        b'subject,seizure,sex,age_at_onset,dystonia\nP1,s1,F,12,1\nP1,s2,M,14,0\nP2,s3,F\nP3,s4,F,7,1,0\nP4,"s5,F,9,1\n',
        [
            "{path}, row 6: cannot be split at commas (unexpected end of data); close the quotes of this row",
            "{path}, row 4: 3 cells under a header of 5; write an empty cell for what is not known",
            "{path}, row 5: 6 cells under a header of 5; put quotes around a cell that has the delimiter in it",
            "{path}, row 3: sex of subject 'P1' is 'M', but 'F' in row 2; it is of the subject: correct one of the two",
            "{path}, row 3: age_at_onset of subject 'P1' is '14', but '12' in row 2; it is of the subject: correct one of the two",
        ],
    ),
}


@pytest.mark.parametrize("which", WORST)
def test_the_ten_worst_files(tmp_path: Path, which: str) -> None:
    content, messages = WORST[which]
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_cohort(path)
    assert caught.value.faults == tuple(message.replace("{path}", str(path)) for message in messages)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("subject,seizure\nP1,s1\n".encode("utf-16"), "UTF-16"),
        (b"subject,seizure\nP1,\0\n", "binary"),
        (b'subject,seizure,note\nP1,s1,"one\ntwo"\n', "runs over several lines"),
        (b"subject,seizure,no\x01te\nP1,s1,x\n", "control character"),
        (b"subject,seizure\nP1," + b"x" * 140_000 + b"\n", "field larger than field limit"),
    ],
)
def test_other_bad_files(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_cohort(path)
    assert all("\n" not in fault for fault in caught.value.faults)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_cohort(tmp_path / "cohort.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_cohort(tmp_path)
