"""Failures in words: what went wrong, for those who review it rather than for the file's owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.database.dead_letters import Filter
from appliance.errors import ApplianceError
from appliance.jobs import JobType
from appliance.web import words


def title(code: str) -> str:
    """What the error of this code is called: `The file is damaged`."""
    return _TITLES.get(code, f"It failed with {code}")


def failure(*, job_type: JobType, code: str, step: str) -> dict[str, Any]:
    """A kind of failure, as the macro `failure` of the templates shows it."""
    return {"title": title(code), "type": job_type, "code": code, "step": words.plain(step)}


def selection(wanted: Filter, names: Mapping[str, str]) -> str:
    """Which dead letters a filter takes: `videos of ada that failed with corrupt_file`."""
    if wanted.ids is not None:
        return words.count(len(wanted.ids), "chosen job")
    parts = ["all jobs" if wanted.type is None else words.KINDS[wanted.type]]
    if wanted.owner is not None:
        parts.append(f"of {names.get(wanted.owner, wanted.owner)}")
    if wanted.fingerprint is not None:
        parts.append(f"of the group {wanted.fingerprint}")
    if wanted.code is not None:
        parts.append(f"that failed with {wanted.code}")
    return " ".join(parts)


def _classes(base: type[ApplianceError]) -> Iterator[type[ApplianceError]]:
    yield base
    for branch in base.__subclasses__():
        yield from _classes(branch)


_TITLES = {error.code: error.title for error in _classes(ApplianceError)}
