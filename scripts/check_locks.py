"""Does every lock file hold what pyproject.toml asks for? Reads files only; no network.

`make lock` mends what it finds. It compares the direct requirements, and the pins of the files
with each other; it does not solve anything anew.
"""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

APART = "requirements-supply.lock"
"""Installed into an environment of its own: it may hold what no other lock does."""

ROOT = Path(__file__).resolve().parent.parent
Pins = dict[str, set[str]]  # name -> versions; a universal lock may hold one per Python version


def pins_of(lock: str) -> Pins:
    pins: Pins = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.M):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


def group(groups: dict[str, list[str | dict[str, str]]], name: str) -> list[str]:
    wanted: list[str] = []
    for item in groups[name]:
        wanted += [item] if isinstance(item, str) else group(groups, item["include-group"])
    return wanted


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    needs = project["project"]["dependencies"]
    extras = [
        needed for extra in project["project"]["optional-dependencies"].values() for needed in extra
    ]
    asked = {
        "requirements.lock": needs,
        "requirements-image.lock": needs + extras,
        "requirements-build.lock": group(groups, "build"),
        "requirements-supply.lock": group(groups, "supply"),
        "requirements-dev.lock": needs + extras + group(groups, "dev"),
    }
    everything = pins_of("requirements-dev.lock")
    faults: list[str] = []
    for lock, requirements in asked.items():
        pins = pins_of(lock)
        for requirement in map(Requirement, requirements):
            versions = pins.get(canonicalize_name(requirement.name), set())
            if not versions or not all(map(requirement.specifier.contains, versions)):
                found = ", ".join(sorted(versions)) or "no pin"
                faults.append(f"{lock}: pyproject.toml asks for {requirement}, found {found}")
        for name, versions in pins.items():
            if versions != everything.get(name, versions if lock == APART else None):
                faults.append(f"{lock}: {name} differs from requirements-dev.lock")
    if faults:
        print(*faults, "Run `make lock`.", sep="\n", file=sys.stderr)
        return 1
    print("Lock files match pyproject.toml.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
