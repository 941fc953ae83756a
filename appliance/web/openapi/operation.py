"""How a route is described: what it takes, what it answers, what it refuses.

What follows from the route itself (its path, its permission, the refusals that come with them) is
added by `appliance.web.openapi.document`. A type stands for its schema, which msgspec makes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Meta

from appliance.errors import ApplianceError
from appliance.web.forms import FORM_TYPE
from appliance.web.queries import DEFAULT_LIMIT, MAX_LIMIT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refusals = tuple[type[ApplianceError], ...]
JSON = "application/json"


class Parameter(NamedTuple):
    name: str
    type: Any
    description: str


class Body(NamedTuple):
    content: Mapping[str, Any]
    """Media types, each with its type."""
    required: bool = True


class Answer(NamedTuple):
    description: str
    type: Any = None
    """Of the document, or a tuple of those that it may be; None for no body."""
    headers: tuple[str, ...] = ()
    """Names of `appliance.web.openapi.fields.ANSWERED`."""
    media: str = JSON
    also: tuple[str, ...] = ()
    """Other media types that it may come as, as text."""


class Operation(NamedTuple):
    summary: str
    answers: Mapping[int, Answer]
    refusals: Refusals = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Body | None = None
    curl: str = ""
    """What the example needs beside method, key and address."""


class Group(NamedTuple):
    """Operations that belong together, by handler."""

    name: str
    description: str
    operations: Mapping[Handler, Operation]


# --- what several operations take -----------------------------------------------------------

Text = Annotated[str, Meta(max_length=200)]
Bytes = Annotated[str, Meta(extra_json_schema={"format": "binary"})]
Form = Annotated[
    dict[str, str],
    Meta(description="The same members as in JSON, and `next`: a path that a browser goes on to."),
]
Flag = Literal["0", "1"]

CURSOR = Parameter("cursor", str, "`nextCursor` of the page before.")


def limit(default: int = DEFAULT_LIMIT) -> Parameter:
    bounds = Meta(ge=1, le=MAX_LIMIT, extra_json_schema={"default": default})
    return Parameter("limit", Annotated[int, bounds], "How many at most.")


def asks(kind: type[msgspec.Struct]) -> Body:
    """JSON, or a form that says the same (`appliance.web.forms`)."""
    return Body({JSON: kind, FORM_TYPE: Form})


NEXT = Body({FORM_TYPE: Form}, required=False)
"""Nothing, or a form that says where a browser goes on to."""
