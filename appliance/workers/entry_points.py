"""Which processors are installed: the entry points of the group `appliance.processors`.

Only the metadata of installed packages is read. Nothing of them is imported here: that happens
in the process of each processor, its nursery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

import msgspec

from appliance.errors import ConfigurationError
from appliance.jobs import JobType
from appliance.processors.protocol import PROCESSOR_NAME

GROUP = "appliance.processors"
OURS = "upload-appliance"
"""The distribution whose processors are the built-in ones."""

BUILT_IN = {
    JobType.IMAGE: "image",
    JobType.PDF: "pdf",
    JobType.VIDEO: "video",
    JobType.ANY: "any",
}
"""The processor that every pool has; it takes what no plug-in takes."""

_VALUE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


class Installed(msgspec.Struct, frozen=True):
    """An entry point of the group."""

    name: str
    """Also that of its table in a preset."""
    value: str
    """`module:attribute`, where its Processor is."""
    distribution: str
    """The package that brings it."""
    fault: str | None = None
    """Why it is not used, and what to do."""


def installed() -> list[Installed]:
    """All of them, by name and distribution; those of plug-ins may have a fault."""
    found = [
        Installed(point.name, point.value, point.dist.name if point.dist is not None else "")
        for point in metadata.entry_points(group=GROUP)
    ]
    return sorted(found, key=lambda one: (one.name, one.distribution, one.value))


def built_in(job_type: JobType) -> str:
    """The `module:attribute` of the built-in processor of a job type. Raises ConfigurationError."""
    for one in installed():
        if one.distribution == OURS and one.name == BUILT_IN[job_type]:
            return one.value
    raise ConfigurationError(
        [
            f"The processor {BUILT_IN[job_type]} is not installed: {OURS} was installed before it "
            f"had entry points in {GROUP}, or is not installed at all. Install it again; in a "
            "source tree, `make run` does."
        ]
    )


def plugins(found: Iterable[Installed]) -> list[Installed]:
    """The processors that other packages bring. A name is used once: not that of a built-in
    processor, and of two plug-ins with one name the first by distribution keeps it."""
    taken = {name: f"the built-in processor {name}" for name in BUILT_IN.values()}
    judged = []
    for one in found:
        if one.distribution == OURS and one.name in BUILT_IN.values():
            continue
        fault = _fault(one, taken.get(one.name))
        if fault is None:
            taken[one.name] = f"that of {one.distribution}"
        judged.append(msgspec.structs.replace(one, fault=fault))
    return judged


def _fault(one: Installed, holder: str | None) -> str | None:
    if not re.fullmatch(PROCESSOR_NAME, one.name):
        return (
            f"The entry point {one.name[:100]!r} of {one.distribution} is no name for a processor "
            "(a small letter, then at most 31 small letters, digits, - and _); its author has to "
            "rename it."
        )
    if holder is not None:
        return (
            f"The processor {one.name} of {one.distribution} has the name of another, {holder}. "
            f"Uninstall {one.distribution}, or have its author rename it."
        )
    if not _VALUE.fullmatch(one.value):
        return (
            f"The entry point {one.name} of {one.distribution} is {one.value[:100]!r}; it has to "
            "be module:attribute, and its author has to mend it."
        )
    return None
