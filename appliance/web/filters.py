"""Which dead letters somebody means: the same words in a query, a form, JSON and the command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from appliance.clock import seconds_of
from appliance.database.dead_letters import Filter
from appliance.errors import BadRequest
from appliance.ids import is_id
from appliance.jobs import JobType
from appliance.web.queries import member

MAX_IDS = 1000


class FilterFields(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The filter as it is written; with nothing set, all of them."""

    fingerprint: str | None = None
    owner: str | None = None
    type: str | None = None
    code: str | None = None
    since: str | None = None
    until: str | None = None

    def parsed(self) -> Filter:
        """Raises BadRequest. An empty text is taken for none."""
        return Filter(
            fingerprint=_fingerprint(self.fingerprint),
            owner=given_text("owner", self.owner),
            type=_type(self.type),
            code=given_text("code", self.code),
            since=given_time("since", self.since),
            until=given_time("until", self.until),
        )


def from_query(query: Mapping[str, str]) -> Filter:
    fields = {name: query[name] for name in FilterFields.__struct_fields__ if name in query}
    return FilterFields(**fields).parsed()


def of_ids(ids: Sequence[str]) -> Filter:
    """Of jobs. Raises BadRequest."""
    if not 1 <= len(ids) <= MAX_IDS:
        raise BadRequest(f"ids: between 1 and {MAX_IDS} of them. A filter takes any number.")
    for one in ids:
        if not is_id(one):
            raise BadRequest(f"ids: {shown(one)} is not the id of a job.")
    return Filter(ids=tuple(dict.fromkeys(ids)))


def time_in(name: str, text: str) -> float:
    try:
        return seconds_of(text.strip())
    except ValueError:
        raise BadRequest(
            f"{name} is a time with its zone, such as 2026-11-24T08:00:00Z (RFC 3339)."
        ) from None


def shown(text: str) -> str:
    """Somebody else's text in a message of ours: quoted, escaped, cut."""
    return ascii(text[:40])


def _fingerprint(text: str | None) -> str | None:
    text = _given(text)
    if text is not None and not re.fullmatch(r"[0-9a-f]{16}", text):
        raise BadRequest("fingerprint is 16 hexadecimal digits, as a group of dead letters has it.")
    return text


def _type(text: str | None) -> JobType | None:
    text = _given(text)
    return None if text is None else member(JobType, text, "type")


def given_text(name: str, text: str | None) -> str | None:
    """Raises BadRequest. An empty text is taken for none."""
    text = _given(text)
    if text is not None and (len(text) > 200 or not text.isprintable()):
        raise BadRequest(f"{name} is a text of at most 200 characters.")
    return text


def given_time(name: str, text: str | None) -> float | None:
    """Raises BadRequest. An empty text is taken for none."""
    text = _given(text)
    return None if text is None else time_in(name, text)


def _given(text: str | None) -> str | None:
    return (text or "").strip() or None
