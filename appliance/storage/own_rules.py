"""What a store does by itself with objects that are old, once it has been told to.

Only buckets can, and only what goes by the age of an object alone. Nothing is ever deleted so: a
bucket knows nothing of pins, reviews, and the ages of owners and presets.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

ORIGINALS = "raw/"
"""Below this lies what goes to the cold class."""


RESULTS = "processed/"


def is_about_us(prefix: str, ours: str) -> bool:
    """Whether what begins with `prefix` may be an original or a result below `ours`."""
    return any(
        prefix.startswith(ours + folder) or (ours + folder).startswith(prefix)
        for folder in (ORIGINALS, RESULTS)
    )


class Cooling(NamedTuple):
    after_days: int
    storage_class: str
    prefix: str
    """What begins so goes to that class then."""


class Rules(NamedTuple):
    cooling: Cooling | None = None
    """None: originals stay where they are."""
    abandoned_after_days: int = 0
    """Parts of objects that were never ended are deleted then; 0: the store needs no rule."""


class OwnRules(Protocol):
    """Ours are told apart from those of others, which always stay."""

    subject: str
    """The bucket, for people, with the prefix that the rules keep to."""
    cold_class: str | None
    """To which originals are to go; None: to none."""
    originals: str
    """With what those begin that are ours."""

    def wanted(self, cold_after_days: int) -> Rules:
        """What is to be installed for that age. Raises ConfigurationError where the store moves
        nothing that young."""
        ...

    async def installed(self) -> Rules | None:
        """Those of ours that are in force, as they stand there; None: there are none.

        Raises StorageRefused where it has no such thing, or does not tell us; StorageUnavailable.
        """
        ...

    async def deleting(self) -> list[str]:
        """Rules of others by which originals or results are deleted, for people. Raises as
        above."""
        ...

    async def install(self, rules: Rules) -> None:
        """In the place of what there is of ours. Raises as above."""
        ...
