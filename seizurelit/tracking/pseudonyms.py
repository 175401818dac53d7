"""Names that can leave the machine: keyed, stable, and of no use to anyone without the key.

A pseudonym is the beginning of HMAC-SHA256(key, name) (RFC 2104). Without the key, lists of likely names cannot be
tried; with it, the laboratory finds its subjects again.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import numbers
import os
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from seizurelit.errors import InputError

KEY_BYTES = 32
WITHHELD = "withheld"
# An absolute path, or one that begins at home, here or above: names of jobs (dystonia/pose) and "n/a" are none.
_PATH = re.compile(r"(?<![\w.~/\\-])(?:[A-Za-z]:[\\/]|~[\w.-]*/|\.{1,2}/|/(?=[^\s/])|\\\\|file://)[^\n]*")
_WORD_OF_DIGITS = re.compile(r"\d+")


def key_file() -> Path:
    """Where the key lies: SEIZURELIT_KEY_FILE, else the user's data folder (XDG Base Directory Specification)."""
    given = os.environ.get("SEIZURELIT_KEY_FILE")
    if given:
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "seizurelit" / "pseudonym.key"


def read_key(path: Path | None = None) -> bytes:
    """Read the key, and make it (mode 0600) on first use.

    Args:
        path: the key file; `key_file()` by default.

    Raises:
        InputError: it cannot be read or made, holds no key, or others may read it.
    """
    path = key_file() if path is None else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make_key(path)
        text = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
        key = bytes.fromhex(text)
    except OSError as error:
        fault = f"{path}: no key of pseudonyms there, and none can be made ({error.strerror}); set SEIZURELIT_KEY_FILE"
        raise InputError(fault) from None
    except ValueError:
        key = b""
    if len(key) < 16:
        fault = f"{path}: holds no key (64 hexadecimal digits); restore it from a copy, or delete it for new pseudonyms"
        raise InputError(fault)
    if mode & 0o077:
        fault = f"{path}: others may read the key of the pseudonyms; chmod 600 {path}"
        raise InputError(fault)
    return key


def _make_key(path: Path) -> None:
    """Make a key file whole or not at all; of two processes that do so at once, one key stays."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        beside.unlink()


def pseudonym(name: str, key: bytes) -> str:
    """S- and twelve hexadecimal digits for a subject's or seizure's name.

    >>> pseudonym("sub-03", bytes(32))
    'S-c79a319af1b6'
    """
    return "S-" + hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:12]


class Veil:
    """Takes names, paths, host and user out of whatever is to leave the machine.

    A known name is replaced by its pseudonym wherever it stands, whatever its case: inside words too if it is four
    characters or longer and not of digits alone; shorter ones between non-alphanumerics; digits alone only as a whole
    part between slashes, commas or blanks, as every version and seed would otherwise be a subject. A path becomes
    `withheld`, with the rest of its line, as it may hold blanks; so do host and user.

    Args:
        names: subjects, seizures, file names: all that must not be read outside.
        key: of the pseudonyms.
    """

    def __init__(self, names: Iterable[str], key: bytes) -> None:
        self.key = key
        given = sorted({name for name in names if name.strip()})
        self._known = {name.casefold(): name for name in given}
        patterns = []
        for name in sorted(given, key=lambda name: (-len(name), name)):
            inner = re.escape(name)
            if _WORD_OF_DIGITS.fullmatch(name):
                inner = rf"(?<![^/\s,;:()]){inner}(?![^/\s,;:()])"
            elif not self._telling(name):
                inner = rf"(?<![^\W_]){inner}(?![^\W_])"
            patterns.append(inner)
        self._names = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        machine = {socket.gethostname(), socket.gethostname().partition(".")[0], _user()} - {"", "root", "localhost"}
        self._machine = (
            re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(machine))) if machine else None
        )

    def name(self, name: str) -> str:
        """The pseudonym of a name."""
        return pseudonym(name, self.key)

    def text(self, text: str) -> str:
        """The text without names, paths, host and user."""
        text = _PATH.sub(WITHHELD, text)
        if self._names is not None:
            text = self._names.sub(lambda match: self.name(self._known.get(match[0].casefold(), match[0])), text)
        return self._machine.sub(WITHHELD, text) if self._machine is not None else text

    def finds(self, text: str) -> bool:
        """Whether a known name stands in a text; only of four characters or more, not of digits alone: any page has the others."""
        return self._names is not None and any(self._telling(match[0]) for match in self._names.finditer(text))

    @staticmethod
    def _telling(name: str) -> bool:
        return len(name) >= 4 and _WORD_OF_DIGITS.fullmatch(name) is None

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it, keys included, passed through `text`.

        Raises:
            TypeError: something that JSON does not hold; it might print as anything.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real):
            return float(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, PurePath):
            return WITHHELD
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item) for item in value]
        msg = f"not for outside: a value of type {type(value).__name__}"
        raise TypeError(msg)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
