"""What is wrong with the options that a preset gives to a processor, in words.

msgspec finds the fault; here it is said so that whoever wrote the preset can mend it.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args, get_type_hints

import msgspec


def fault_of(options: dict[str, Any], known: type[msgspec.Struct]) -> str | None:
    """The first fault, with the option that it is about in front, in backquotes; None when the
    options are good.

    "Expected `int`, got `str` - at `$.sizes[0].width`" becomes "`sizes[0].width`: expected `int`,
    got `str`."
    """
    try:
        msgspec.convert(options, known)
    except msgspec.ValidationError as error:
        return _in_words(str(error), known)
    return None


def _in_words(message: str, known: type[msgspec.Struct]) -> str:
    fault, _, place = message.partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.*)`", fault)
    if unknown is not None:
        members = _members(known, place)
        at = f"{place}.{unknown[1]}" if place else unknown[1]
        close = difflib.get_close_matches(unknown[1], members, n=1)
        mend = f" Did you mean `{close[0]}`?" if close else ""
        listed = f" Known are {', '.join(sorted(members))}." if members else ""
        return f"`{at}` is not known.{mend}{listed}"
    fault = fault[:1].lower() + fault[1:]
    return f"`{place}`: {fault}." if place else f"{fault}."


def _members(known: type[msgspec.Struct], place: str) -> tuple[str, ...]:
    """The fields of the struct at `place`; none where that may be one of several."""
    hint: Any = known
    for name in re.findall(r"[\w-]+|\[", place):
        if name == "[" or name == "..." or name.isdecimal():
            continue
        hint = get_type_hints(hint).get(name)
        structs = _structs(hint)
        if len(structs) != 1:
            return ()
        (hint,) = structs
    return tuple(field.encode_name for field in msgspec.structs.fields(hint))


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [struct for part in get_args(hint) for struct in _structs(part)]
