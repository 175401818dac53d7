"""The errors that a front door turns into one line: exit code 2 for the user's input, 1 for a failed run."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave is wrong; each line names file, row and remedy.

    Args:
        faults: one line a fault, all that were found in one reading.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RunError(RuntimeError):
    """A run could not be completed; the message says what is missing and how to go on."""
