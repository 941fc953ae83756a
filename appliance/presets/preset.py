"""The vocabulary of presets: what is to be made of files, by name and version.

A preset has a table of options for each processor that it says something about. The tables are
passed on as they are: what may stand in them only the processors know, and the server's own
process never imports those (`workers.preset_check` asks them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT = "default"
"""The preset of whoever names none; what others do not say is as it is here."""


@dataclass(frozen=True)
class Preset:
    name: str
    version: int
    description: str
    tables: Mapping[str, Mapping[str, Any]]
    """Options by the name of the processor; JSON values."""
    lifecycle: Mapping[str, int]
    """For how many days after their end the files of jobs that name it are kept, by the keys that
    `presets.files` knows; 0: for ever."""
    path: Path
    """The file that it was read from."""
    text: str = field(repr=False)
    """What stands there, to tell lines."""


class Presets:
    """All presets there are. The one called `default` is always among them."""

    def __init__(self, presets: Iterable[Preset]) -> None:
        found = {preset.name: preset for preset in presets}
        others = sorted(found.keys() - {DEFAULT})
        self._by_name = {name: found[name] for name in (DEFAULT, *others)}

    def __iter__(self) -> Iterator[Preset]:
        """`default` first, the others by name."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Preset | None:
        return self._by_name.get(name)

    @property
    def processors(self) -> set[str]:
        """The names of all for which there is a table."""
        return {table for preset in self for table in preset.tables}

    def days(self, key: str) -> dict[str, int]:
        """What is said under a key of `lifecycle`, there or by `default`, by the preset's name."""
        default = self._by_name[DEFAULT].lifecycle
        found = {preset.name: {**default, **preset.lifecycle} for preset in self}
        return {name: said[key] for name, said in found.items() if key in said}

    def options(self, preset: Preset, processor: str) -> dict[str, Any]:
        """What the processor is asked for: option by option as the preset says it, else as
        `default` does. What neither says the processor knows."""
        default = self._by_name[DEFAULT]
        return {**default.tables.get(processor, {}), **preset.tables.get(processor, {})}
