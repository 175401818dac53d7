"""The guard of a fold: no held-out subject's data, and nothing that was fitted on it, may be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seizurelit.cohort.plan import Fold


class SubjectLeakError(RuntimeError):
    """A held-out subject's data, or an artefact that has seen it, was about to reach what is fitted for its fold."""


@dataclass(frozen=True)
class Guard:
    """Admits subjects to the fitting of one fold, or raises.

    Attributes:
        fold: name of the fold, for the message.
        held_out: subjects that nothing fitted in this fold may have seen.
    """

    fold: str
    held_out: frozenset[str]

    @classmethod
    def of(cls, fold: Fold, *, inner: bool = False) -> Guard:
        """The guard of a fold.

        Args:
            fold: whose test subjects are held out.
            inner: hold its validation subjects out as well: for what a setting, an epoch or a threshold is chosen by.
        """
        return cls(fold.name, frozenset(fold.test) | (frozenset(fold.validation) if inner else frozenset()))

    def admit(self, subjects: Iterable[str], what: str) -> None:
        """Let something pass whose data came from these subjects.

        Args:
            subjects: whose data it is, or whose data it was fitted on.
            what: names it in the message: the training data, a checkpoint's path, the teacher.

        Raises:
            SubjectLeakError: if any of them is held out.
        """
        leaked = sorted(self.held_out.intersection(subjects))
        if leaked:
            msg = (
                f"fold {self.fold}: {what} has seen the held-out {', '.join(leaked)}; "
                "fit it on the fold's training subjects alone"
            )
            raise SubjectLeakError(msg)
