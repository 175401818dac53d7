"""Whose a job is while several runs work in one folder: claims that one file operation decides, and a heartbeat behind them.

    ledger/owners/ID.json      a run at work: machine, process, when that process was born
    ledger/owners/ID.beat      a number that the run counts up while it lives
    ledger/claims/JOB.claim-N  the N-th owner of a job; the highest N is the job's

A claim is a hard link, which one of several machines makes first on a network file system too, and is never taken away: who takes
a dead run's job makes claim N+1, for which again one wins. No clock is compared: on the same machine a run is dead when its process
is, elsewhere when its number has stood still for a lease as this process measures it.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BEAT = 5.0
"""Seconds from one heartbeat to the next."""

LEASE = 60.0
"""Seconds without a heartbeat after which a run on another machine counts as gone."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Claims:
    """This run's part in the claims of a ledger; a context, whose end gives everything back.

    Args:
        ledger: the folder `ledger` of a run folder.
        lease: seconds without a heartbeat that make another machine's run dead.
    """

    def __init__(self, ledger: Path, lease: float = LEASE) -> None:
        self.owner = uuid.uuid4().hex
        self.folder = ledger
        self.lease = lease
        self._mine: dict[str, int] = {}
        self._dead: set[str] = set()
        self._seen: dict[str, tuple[str, float]] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        owners = self.folder / "owners"
        owners.mkdir(parents=True, exist_ok=True)
        self._clear(owners)
        about = {"host": _host(), "pid": os.getpid(), "born": _born(os.getpid())}
        self._owner_file(self.owner, ".beat").write_text("0")
        self._token.write_text(self.owner)
        self._owner_file(self.owner).write_text(json.dumps(about))
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for suffix in (".json", ".beat", ".claim"):  # without the first of them a run is gone
            with suppress(OSError):
                self._owner_file(self.owner, suffix).unlink(missing_ok=True)

    @property
    def _token(self) -> Path:
        """A file that holds this owner's name; its claims are links to it."""
        return self._owner_file(self.owner, ".claim")

    def _owner_file(self, owner: str, suffix: str = ".json") -> Path:
        return self.folder / "owners" / f"{owner}{suffix}"

    def _claim(self, job: str, number: int) -> Path:
        return self.folder / "claims" / f"{job}.claim-{number}"

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(BEAT):
            count += 1
            with suppress(OSError):
                self._owner_file(self.owner, ".beat").write_text(str(count))

    def _clear(self, owners: Path) -> None:
        """Forget the runs that are known to be gone."""
        for path in owners.glob("*.json"):
            if not self.alive(path.stem):
                for suffix in (".json", ".beat", ".claim"):
                    with suppress(OSError):
                        self._owner_file(path.stem, suffix).unlink(missing_ok=True)

    def others(self) -> tuple[str, ...]:
        """Other runs at work in this folder."""
        found = (path.stem for path in (self.folder / "owners").glob("*.json"))
        return tuple(sorted(owner for owner in found if owner != self.owner and self.alive(owner)))

    def take(self, job: str) -> bool:
        """Make a job this run's own, unless it is that of another run that lives.

        Args:
            job: its id.
        """
        if job in self._mine:
            return self.mine(job)
        number = 1
        while not self._make(self._claim(job, number)):
            holder = self._read(self._claim(job, number))
            if holder == self.owner:  # a network file system may do a thing and say that it could not
                break
            if self.alive(holder) if holder else self._being_written(self._claim(job, number)):
                return False
            number += 1
        self._mine[job] = number
        return True

    def mine(self, job: str) -> bool:
        """Whether a job that this run took is still its own: a run that stood still for a lease may have lost it."""
        return job in self._mine and not self._claim(job, self._mine[job] + 1).exists()

    def holder(self, job: str) -> str:
        """The owner of a job's last claim; empty without one, or where it cannot be read."""
        number = 1
        while self._claim(job, number + 1).exists():
            number += 1
        return self._read(self._claim(job, number))

    def alive(self, owner: str) -> bool:
        """Whether a run is at work: for all that can be known, when it is on another machine.

        Args:
            owner: its name.
        """
        if owner in self._dead:
            return False
        if owner == self.owner:
            return True
        living = self._lives(owner)
        if not living:
            self._dead.add(owner)
        return living

    def _lives(self, owner: str) -> bool:
        try:
            about: dict[str, object] = json.loads(self._owner_file(owner).read_bytes())
        except FileNotFoundError:
            return False
        except (OSError, ValueError):  # unreadable: its heart decides
            about = {}
        if about.get("host") and about["host"] == _host():
            return bool(_born(int(str(about["pid"]))) == about["born"])
        return self._changed(owner, self._read(self._owner_file(owner, ".beat")))

    def _changed(self, what: str, now: str) -> bool:
        """Whether something is other than it was, or has not been the same for a lease yet."""
        clock = time.monotonic()
        before, since = self._seen.get(what, ("", 0.0))
        if what not in self._seen or now != before:
            self._seen[what] = now, clock
            return True
        return clock - since < self.lease

    def _being_written(self, claim: Path) -> bool:
        """Whether an empty claim may yet get its owner's name: only where there are no hard links are they empty at first."""
        return self._changed(str(claim), "")

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text()
        except OSError:
            return ""

    def _make(self, path: Path) -> bool:
        """Make a claim; False if it is there."""
        for _ in range(2):
            try:
                self._link(path)
            except FileExistsError:
                return False
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
            else:
                return True
        msg = f"{self._token}: has gone, so that no job can be claimed; who deleted it?"
        raise RuntimeError(msg)

    def _link(self, path: Path) -> None:
        try:
            os.link(self._token, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("x") as file:
                file.write(self.owner)


def _host() -> str:
    """This boot of this machine, and the namespace that gives its processes their numbers; empty where that is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
