"""How every front door reads its command line: options from dataclasses, presets, YAML, one-line errors, exit codes."""

from __future__ import annotations

import dataclasses
import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from seizurelit.config import RESEARCH_USE, Training
from seizurelit.errors import InputError, RunError

Options = TypeVar("Options")

# What `--preset` sets; an option or a YAML value that is given stands above it. `paper` is Training's own defaults (METHOD.md).
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"seeds": 5},
    "fast": {
        "seeds": 1,
        "windows.frames": 75,
        "windows.per_seizure": 1,
        "windows.stride": 75,
        "windows.step": 2,
        "inputs.facing": True,
        "agcn.variant": "small",
        "tcn.levels": 4,
        "optimiser.epochs": 25,
        "optimiser.lr": 1e-2,
    },
}


class _Exit(Exception):  # noqa: N818 - it carries an exit code, not an error
    def __init__(self, code: int) -> None:
        self.code = code


class Parser(ArgumentParser):
    """A parser whose errors are the first line that matters."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one line, and where help is."""
        del ex
        text = " ".join(message.split())
        print(f"{self.prog}: {text}; see --help", file=sys.stderr)
        raise _Exit(2)


def door_parser(door: str, doc: str, options: type[Any], *, trains: bool, positional: Sequence[str] = ()) -> Parser:
    """The parser of one front door.

    Args:
        door: the module's name after `seizurelit.`.
        doc: what it does, for the top of `--help`.
        options: a frozen dataclass; each attribute is an option, its docstring the help.
        trains: also take the settings of `Training`, and `--preset`.
        positional: attributes that are given by place instead of by name.
    """
    epilog = RESEARCH_USE
    if trains:
        fast = ", ".join(f"{name} {value}" for name, value in PRESETS["fast"].items())
        epilog = f"--preset fast sets: {fast}. The defaults shown are --preset paper's (which also sets seeds 5). {RESEARCH_USE}"
    parser = Parser(
        prog=f"python -m seizurelit.{door}",
        usage=f"python -m seizurelit.{door} [options]",
        description=doc,
        epilog=epilog,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file of any of these options; later options stand above it"
    )
    for entry in dataclasses.fields(options):
        if entry.name in positional:
            parser.add_argument(entry.name, type=get_type_hints(options)[entry.name], help="see below")
    parser.add_class_arguments(options, fail_untyped=True, skip=set(positional))
    for action in parser._actions:
        if action.dest in _switches(options):  # as `_as_declared` takes it
            action.metavar = "[{true,false}]"
    if trains:
        parser.add_class_arguments(Training, fail_untyped=True)
    return parser


def parse(parser: Parser, options: type[Options], argv: Sequence[str], *, trains: bool) -> tuple[Options, Training]:
    """Read the command line, the YAML file and the preset into frozen dataclasses.

    Args:
        parser: from `door_parser`.
        options: the same dataclass; one that trains has `preset`.
        argv: without the program's name.
        trains: as for `door_parser`.

    Returns:
        The options, and the training settings (the defaults where the door trains nothing).
    """
    argv = _as_declared(argv, options)
    _check_yaml(argv)
    parsed = parser.parse_args(list(argv))
    if trains:
        preset = parsed.preset or _preset_of_this_machine()
        parser.set_defaults({**PRESETS[preset], "preset": preset})
        parsed = parser.parse_args(list(argv))
    ready = parser.instantiate(parsed)
    return _pick(ready, options), _pick(ready, Training) if trains else Training()


def _as_declared(argv: Sequence[str], options: type[Any]) -> list[str]:
    """The words with --an-option as --an_option, and a switch that is given without a value as true."""
    switches = _switches(options)
    words = []
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            words.append(word)
            continue
        name = name.replace("-", "_").replace("__", "--", 1)
        following = argv[place + 1].lower() if place + 1 < len(argv) else ""
        if not equals and name.removeprefix("--") in switches and following not in ("true", "false", "yes", "no"):
            equals, value = "=", "true"
        words.append(f"{name}{equals}{value}")
    return words


def _switches(options: type[Any]) -> set[str]:
    """The options that may be given without a value."""
    return {name for name, kind in get_type_hints(options).items() if kind is bool}


def _preset_of_this_machine() -> str:
    import torch  # noqa: PLC0415 - only once the command line is understood

    return "paper" if torch.cuda.is_available() else "fast"


def _check_yaml(argv: Sequence[str]) -> None:
    """A configuration file that cannot be read, before the parser's own longer words for it."""
    for position, word in enumerate(argv):
        name = word.removeprefix("--config=") if word.startswith("--config=") else None
        if word == "--config" and position + 1 < len(argv):
            name = argv[position + 1]
        if name is None:
            continue
        try:
            content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except OSError as error:
            msg = f"{name}: {error.strerror}; give the path of a YAML file to --config"
            raise InputError(msg) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            msg = f"{name}: not readable as YAML: {' '.join(str(error).split())}"
            raise InputError(msg) from None
        if not isinstance(content, Mapping):
            msg = f"{name}: holds no options; write lines such as `stream: pose`"
            raise InputError(msg)


def _pick(parsed: Namespace, kind: type[Options]) -> Options:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: parsed[field.name] for field in fields})


def run_door(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> NoReturn:
    """Call a door and leave with its exit code: 2 for the user's input, 1 for a failed run, 130 for Ctrl-C."""
    try:
        code = main(sys.argv[1:] if argv is None else argv)
    except _Exit as exit_:
        code = exit_.code
    except ArgumentError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        code = 2
    except InputError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        code = 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == __name__.split(".")[0]:
            raise
        later = (error.name or "").split(".")[0] in ("captum", "onnx", "onnxruntime", "onnxscript")
        remedy = (
            "`make env-use` installs what predictions need"
            if later
            else "`make env-extraction` installs what videos need"
        )
        print(f"error: {error.name} is not installed; {remedy}", file=sys.stderr)
        code = 2
    except BrokenPipeError:
        code = 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f"{error.filename}: " if error.filename else ""
            print(
                f"error: {where}the disk is full; make room, and the same command goes on where this one was",
                file=sys.stderr,
            )
            code = 1
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(
                f"error: {error.filename}: {error.strerror}; check the path, and who may read or write there",
                file=sys.stderr,
            )
            code = 2
        else:
            raise
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        code = 130
    sys.exit(code)
