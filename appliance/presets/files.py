"""Reads presets from TOML files: those that are shipped, then those of the user.

A preset's name is that of its file. One of the user's takes the place of a shipped one of the
same name. All faults of all files are told at once. What stands in the tables is not judged here
(`preset` says why); what the files are like to a person is in docs/presets.md.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from appliance.errors import ConfigurationError
from appliance.presets.preset import Preset, Presets

SHIPPED = Path(__file__).parent
NAME = r"[a-z0-9][a-z0-9-]{0,49}"
HEAD = ("version", "description")
"""What a preset says beside its tables."""
LIFECYCLE = "lifecycle"
DELETE_AFTER = "delete_after_days"
DELETE_RESULTS_AFTER = "delete_results_after_days"
LIFECYCLE_KEYS = (DELETE_AFTER, DELETE_RESULTS_AFTER)
"""The table that is no processor's."""
MAX_DAYS = 36500
MAX_VERSION = 10**9
"""A date such as 20261125 is one; what no database can hold is none."""
MAX_DESCRIPTION_CHARS = 200
MAX_TABLES_BYTES = 16 * 1024
"""As JSON. Two presets' tables together go into one message of 64 KiB to a nursery."""

log = structlog.get_logger()


def load(folder: Path | None = None) -> Presets:
    """The shipped presets and those in `folder`, which need not be there.

    Raises ConfigurationError with all faults, each with its mend.
    """
    faults: list[str] = []
    shipped = _read_all(SHIPPED, faults)
    own = {} if folder is None else _read_all(folder, faults)
    if faults:
        raise ConfigurationError(faults)
    for name in sorted(shipped.keys() & own.keys()):
        log.info("preset_replaced", preset=name, by=str(own[name].path))
    return Presets([*(shipped | own).values()])


def told(path: Path, fault: str, line: int | None = None) -> str:
    """A fault of a file, as a person is told of it."""
    return f"{path}: {fault}" if line is None else f"{path}, line {line}: {fault}"


def line_of(text: str, table: str | None, key: str | None) -> int | None:
    """The number of the line, from 1, where `key` of `table` is said in a TOML document.

    Of the table's head without a key or where the key has no line of its own. A guess by the
    looks of the lines, right for what people write; tomllib keeps no positions.
    """
    here: str | None = None
    head_line = None
    for number, line in enumerate(text.splitlines(), start=1):
        head = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        if head is not None:
            here = re.sub(r"[\"'\s]", "", head[1])
            if here == f"{table}.{key}":
                return number
            if here == table:
                head_line = number
        elif (
            here == table
            and key is not None
            and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line)
        ):
            return number
    return head_line


def _read_all(folder: Path, faults: list[str]) -> dict[str, Preset]:
    try:
        paths = sorted(folder.iterdir())  # glob would pass over a folder that may not be read
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append(told(folder, f"cannot be read ({error.strerror}); check its permissions."))
        return {}
    # Hidden ones are other programs' leftovers: editors' and macOS' (`._hls.toml`).
    named = [path for path in paths if path.suffix == ".toml" and not path.name.startswith(".")]
    read = [_read(path, faults) for path in named]
    return {preset.name: preset for preset in read if preset is not None}


def _read(path: Path, faults: list[str]) -> Preset | None:
    if not re.fullmatch(NAME, path.stem):
        faults.append(
            told(
                path,
                f"{path.stem!r} cannot be the name of a preset. Name the file with up to 50 small "
                "letters, digits and hyphens, such as web-small.toml.",
            )
        )
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        faults.append(told(path, f"cannot be read ({error.strerror}); check its permissions."))
        return None
    except UnicodeDecodeError:
        faults.append(told(path, "is not UTF-8. Save it as UTF-8."))
        return None
    except tomllib.TOMLDecodeError as error:
        faults.append(told(path, f"is not valid TOML: {error}."))
        return None
    except RecursionError:
        faults.append(told(path, "is not valid TOML: it is nested too deeply."))
        return None
    found = [
        *_faults_of_head(document),
        *_faults_of_lifecycle(document),
        *_faults_of_tables(document),
    ]
    faults += [
        told(path, fault, None if key is None else _line_at_top(text, key)) for key, fault in found
    ]
    if found:
        return None
    return Preset(
        name=path.stem,
        version=document["version"],
        description=document.get("description", ""),
        tables=_tables(document),
        lifecycle=document.get(LIFECYCLE, {}),
        path=path,
        text=text,
    )


def _line_at_top(text: str, key: str) -> int | None:
    return line_of(text, None, key) or line_of(text, key, None)


Faults = Sequence[tuple[str | None, str]]
"""Each with the key at the top of the document that it is about."""


def _faults_of_head(document: Mapping[str, Any]) -> Faults:
    faults: list[tuple[str | None, str]] = []
    version = document.get("version")
    if version is None:
        faults.append((None, "version is missing. Begin the file with `version = 1`."))
    elif type(version) is not int or not 1 <= version <= MAX_VERSION:
        faults.append(("version", "version is a whole number from 1 on, such as `version = 1`."))
    description = document.get("description", "")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_CHARS:
        faults.append(
            ("description", f"description is a text of up to {MAX_DESCRIPTION_CHARS} characters.")
        )
    return faults


def _faults_of_lifecycle(document: Mapping[str, Any]) -> Faults:
    table = document.get(LIFECYCLE, {})
    if not isinstance(table, dict):
        return []  # told with those that are no tables
    faults: list[tuple[str | None, str]] = [
        (
            LIFECYCLE,
            f"[{LIFECYCLE}] `{key}` is not known. Known are {' and '.join(LIFECYCLE_KEYS)}.",
        )
        for key in table
        if key not in LIFECYCLE_KEYS
    ]
    faults += [
        (
            LIFECYCLE,
            f"[{LIFECYCLE}] {key} is a whole number of days up to {MAX_DAYS}; 0 is for ever.",
        )
        for key in LIFECYCLE_KEYS
        if type(days := table.get(key, 0)) is not int or not 0 <= days <= MAX_DAYS
    ]
    return faults


def _faults_of_tables(document: Mapping[str, Any]) -> Faults:
    faults: list[tuple[str | None, str]] = [
        (key, f"{key} is not known here{_mend(key)}")
        for key, value in document.items()
        if key not in HEAD and not isinstance(value, dict)
    ]
    try:
        size_bytes = len(msgspec.json.encode(_tables(document)))
    except RecursionError:
        return [*faults, (None, "its tables are nested too deeply.")]
    if size_bytes > MAX_TABLES_BYTES:
        fault = f"its tables take more than {MAX_TABLES_BYTES // 1024} KiB. Say less in them."
        faults.append((None, fault))
    return faults


def _mend(key: str) -> str:
    close = difflib.get_close_matches(key, HEAD, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return ". Options go below the name of a processor, such as [image]."


def _tables(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the processors."""
    return {
        key: value
        for key, value in document.items()
        if isinstance(value, dict) and key != LIFECYCLE
    }
