"""Small bodies that ask for something: JSON from a program, or a form of our pages.

Both say the same with the same names. A program is answered with JSON; a browser that sent a form
is sent on to the form's `next`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance.errors import BadRequest
from appliance.web import bodies
from appliance.web.problems import wants_page
from appliance.web.representation import json_response

MAX_BYTES = 64 * 1024
MAX_FIELDS = 2000
FORM_TYPE = "application/x-www-form-urlencoded"
Once = Annotated[str, msgspec.Meta(min_length=8, max_length=64)] | None
"""What a page gives a form that would do more when it is sent twice; the second is answered as the
first."""
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Asked:
    """The body of a request, read whole."""

    data: bytes
    form: MultiDict[str] | None
    """None: it is JSON. Fields that were left empty are not there, nor is `next`."""
    target: str
    """Where a browser goes on to."""

    def to(
        self, kind: type[S], *, shape: Callable[[MultiDict[str]], Mapping[str, Any]] | None = None
    ) -> S:
        """The body as a record; `shape` makes of a form what JSON would hold.

        Raises BadRequest, in words.
        """
        try:
            if self.form is None:
                return msgspec.json.decode(self.data, type=kind)
            document = dict(self.form) if shape is None else shape(self.form)
            return msgspec.convert(document, kind, strict=False)
        except msgspec.ValidationError as error:
            raise BadRequest(_in_words(str(error), kind)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(
                'The body is not JSON. Send an object, such as {"ids": ["…"]}, with '
                "`Content-Type: application/json`."
                if self.data
                else "The body is empty. Send a JSON object."
            ) from error


async def read(request: web.Request) -> Asked:
    """Raises BadRequest for what is too large, or is a form that cannot be read."""
    pieces = bytearray()
    async for piece in bodies.stream(request):
        pieces += piece
        if len(pieces) > MAX_BYTES:
            raise BadRequest(
                f"The body has more than {MAX_BYTES // 1024} KiB. Send fewer ids at a time, or a "
                "filter instead of ids."
            )
    data = bytes(pieces)
    if request.content_type == "multipart/form-data":
        raise BadRequest(f"Send JSON, or a form as {FORM_TYPE}.")
    if request.content_type != FORM_TYPE:
        return Asked(data, None, "/")
    if data.lstrip().startswith((b"{", b"[")):
        raise BadRequest(
            "The body looks like JSON, but its Content-Type says that it is a form. Send "
            "`Content-Type: application/json` (`curl --json` does)."
        )
    try:
        fields = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise BadRequest("The form cannot be read. Send it as this server's pages do.") from error
    form = MultiDict((name, value.strip()) for name, value in fields if value.strip())
    return Asked(data, form, safe_next(form.popone("next", None)))


async def read_next(request: web.Request) -> Asked:
    """Of a request whose body says nothing but where a browser goes on to."""
    if request.content_type == FORM_TYPE:
        return await read(request)
    return Asked(b"", None, "/")


def answer(
    request: web.Request, asked: Asked, document: Any, *, status: int = 200
) -> web.StreamResponse:
    """`document` for a program, the way on for a browser; None: there is nothing to say."""
    if asked.form is not None and wants_page(request):
        return web.Response(status=303, headers={"Location": asked.target})
    if document is None:
        return web.Response(status=204)
    return json_response(document, status=status)


def safe_next(target: str | None) -> str:
    """A path on this server, never another site's address."""
    # Browsers take "\" for "/" and drop tabs and line breaks: "/\t/host" is another host's.
    if target and re.fullmatch(r"/(?!/)[^\x00-\x20\x7f\\]*", target):
        return target
    return "/"


def _in_words(message: str, kind: type[msgspec.Struct]) -> str:
    """msgspec's words, with the place in front and, for a member that is not known, those that are.

    `Expected `int`, got `str` - at `$.limit`` becomes "limit: expected `int`, got `str`."
    """
    fault, _, place = message.partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.*)`", fault)
    if unknown is not None:
        known = ", ".join(_members(kind, place))
        return f"{_joined(place, unknown[1])} is not known. Known here: {known}."
    missing = re.search(r"missing required field `(.*)`", fault)
    if missing is not None:
        return f"{_joined(place, missing[1])} is missing."
    fault = fault[:1].lower() + fault[1:]
    return f"{place}: {fault}." if place else f"The body: {fault}."


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _members(kind: type[msgspec.Struct], place: str) -> tuple[str, ...]:
    for name in filter(None, place.split(".")):
        hint = get_type_hints(kind)[name]
        (kind,) = (one for one in hint.__args__ if hasattr(one, "__struct_fields__"))
    return kind.__struct_encode_fields__
