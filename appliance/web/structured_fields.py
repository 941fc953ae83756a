"""The few structured fields that uploads use (RFC 9651): integers, booleans, written and read.

A field that is not well formed is as good as absent: so the draft on resumable uploads wants it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from multidict import CIMultiDictProxy

Headers = CIMultiDictProxy[str]

_BARE = r"""\?[01]|:[A-Za-z0-9+/=]*:|"(?:[ !#-\[\]-~]|\\["\\])*"|[-A-Za-z0-9*.:/!#$%&'+^_`|~]+"""
_PARAMETERS = rf"(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:{_BARE}))?)*"


def integer(headers: Headers, name: str) -> int | None:
    """A non-negative integer item, parameters aside."""
    bare = _item(headers, name, r"\d{1,15}")
    return None if bare is None else int(bare)


def boolean(headers: Headers, name: str) -> bool | None:
    bare = _item(headers, name, r"\?[01]")
    return None if bare is None else bare == "?1"


def _item(headers: Headers, name: str, kind: str) -> str | None:
    """The bare item of a field that is one of this kind. A field that is there twice is a list."""
    match = re.fullmatch(
        rf" *({kind}){_PARAMETERS} *", ",".join(headers.getall(name, ())), re.ASCII
    )
    return match[1] if match else None


def preferences(headers: Headers, name: str) -> dict[str, int]:
    """A dictionary of integers (`Want-Repr-Digest`); empty when it is none."""
    text = ",".join(headers.getall(name, ()))
    members = [re.fullmatch(r"([a-z*][a-z0-9_.*-]*)=(\d{1,2})", one.strip(" \t"), re.ASCII)
               for one in text.split(",")]  # fmt: skip
    return {} if None in members else {one[1]: int(one[2]) for one in members if one}


def write_boolean(value: bool) -> str:
    return "?1" if value else "?0"


def write_dictionary(members: Mapping[str, int]) -> str:
    return ", ".join(f"{key}={value}" for key, value in members.items())
