"""Messages for the operators: what failed and what is out of order, in plain text.

Words that came with a file stand in them cut short, and so changed that no service takes them for
markup, a link or a mention. How a message is delivered, a `Messenger` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from appliance.database.dead_letters import Untold
from appliance.errors import ApplianceError
from appliance.jobs import JobType

MAX_CHARACTERS = 1800
"""Of a body: the least that the common services take is 2,000, with the title."""
MAX_NEWS = 3
"""In one message, the latest of them."""
MESSAGE_CHARACTERS = 140
STEP_CHARACTERS = 40

_NOUNS: dict[JobType, tuple[str, str]] = {
    JobType.IMAGE: ("image", "images"),
    JobType.PDF: ("PDF", "PDFs"),
    JobType.VIDEO: ("video", "videos"),
    JobType.ANY: ("other file", "other files"),
}
_HARMLESS = str.maketrans("<>@[]`", "‹›＠()'")
"""Mentions, links and code, in the markup of one chat or another."""


class Message(msgspec.Struct, frozen=True):
    title: str
    body: str


class Messenger(Protocol):
    """Brings messages to the receivers, which are known by their numbers, from 0."""

    @property
    def receivers(self) -> Sequence[str]:
        """What each is, for the log: no address, no secret."""
        ...

    async def deliver(self, messages: Mapping[int, Message]) -> set[int]:
        """Send each to its receiver; the numbers of those that took theirs.

        Returns within a minute. A receiver may have taken it although it is not among them.
        """
        ...


class News(msgspec.Struct, frozen=True):
    """Something that began or ended, other than a dead letter."""

    title: str
    """A few words that can follow a colon."""
    text: str
    """Whole sentences."""


def digest(failed: Sequence[Untold], news: Sequence[News], *, url: str) -> Message:
    """One message about all of it; there is at least one of either. `url` is the server's."""
    titles = [item.title for item in news]
    parts = [item.text for item in news[-MAX_NEWS:]]
    if len(news) > MAX_NEWS:
        earlier = len(news) - MAX_NEWS
        parts.append(f"The log tells of {count(earlier, 'earlier matter', 'earlier matters')}.")
    page = f"{url}/dashboard"
    if failed:
        jobs = sum(group.jobs for group in failed)
        titles.append(f"{count(jobs, 'job', 'jobs')} failed")
        wait = "waits" if jobs == 1 else "wait"
        parts.append(f"{titles[-1]} for good and {wait} for review:")
        page = f"{url}/dashboard/dead-letters"
    text = "\n\n".join(parts)
    lines = _fitting(failed, MAX_CHARACTERS - len(text) - len(page) - 2)
    more = f"; {len(titles) - 2:,} more" if len(titles) > 2 else ""
    title = f"Upload Appliance: {'; '.join(titles[:2])}{more}"
    return Message(title, f"{text}{lines}\n\n{page}")


def _fitting(failed: Sequence[Untold], room: int) -> str:
    """A line for as many groups as there is room for, and one for all the others."""
    lines = ""
    for number, group in enumerate(failed):
        line, rest = _line(group), failed[number:]
        others = f"\n- {count(sum(other.jobs for other in rest), 'more job', 'more jobs')}"
        if len(lines) + len(line) + (len(others) if len(rest) > 1 else 0) > room:
            return lines + others
        lines += line
    return lines


def _line(group: Untold) -> str:
    since = moment(group.first_at) if group.jobs == 1 else f"since {moment(group.first_at)}"
    where = f', at "{quoted(group.step, STEP_CHARACTERS)}"' if group.step else ""
    return (
        f"\n- {count(group.jobs, *_NOUNS[group.type])}, {since}: "
        f"{TITLES.get(group.error_code, 'It failed')} ({group.error_code}{where}): "
        f'"{quoted(group.message, MESSAGE_CHARACTERS)}"'
    )


def _titles(error: type[ApplianceError]) -> Iterator[tuple[str, str]]:
    yield error.code, error.title
    for branch in error.__subclasses__():
        yield from _titles(branch)


TITLES: Mapping[str, str] = dict(_titles(ApplianceError))
"""What each error code means."""


def quoted(text: str, characters: int) -> str:
    """Words of somebody else, on one line, cut to `characters`, harmless to every service."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    words = " ".join(printable.split()).replace("://", ": //").translate(_HARMLESS)
    return words if len(words) <= characters else words[: characters - 1] + "…"


def count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def moment(seconds: float) -> str:
    """`seconds` since the epoch, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def nouns(job_type: JobType) -> str:
    return _NOUNS[job_type][1]
