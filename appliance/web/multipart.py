"""multipart/form-data as a stream of parts (RFC 7578), nothing held but one piece of the body.

The parsing is python-multipart's, a push parser (3 times the speed of aiohttp's reader here);
this module turns its callbacks into parts whose bodies are read as they arrive, and bounds
what a client can make us do.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from email.message import Message
from enum import Enum, auto
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from appliance.errors import MultipartInvalid, TooManyParts

MAX_PARTS = 1000
"""Parts of one request. A form of ours has 5 fields; the rest is room for many small files."""

MAX_PART_HEADERS = 16
MAX_PART_HEADER_BYTES = 8 * 1024
MAX_FIELD_BYTES = 64 * 1024


class _Event(Enum):
    HEADERS = auto()
    DATA = auto()
    END = auto()


class Part:
    """One part. Its body must be read to the end before the next part is asked for."""

    def __init__(self, reader: MultipartReader, headers: dict[str, str]) -> None:
        self._reader = reader
        self.headers = headers
        """Names in lower case."""
        kind, parameters = parse_disposition(headers.get("content-disposition", ""))
        if kind != "form-data" or "name" not in parameters:
            raise MultipartInvalid(
                "Every part needs `Content-Disposition: form-data` with a name (RFC 7578, 4.2)."
            )
        self.name = parameters["name"]
        self.filename = parameters.get("filename*", parameters.get("filename"))

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            event, data = await self._reader.next_event()
            if event is _Event.END:
                return
            yield data

    async def text(self) -> str:
        """A field's value. Raises MultipartInvalid when it is too long or not UTF-8."""
        value = bytearray()
        async for piece in self.body():
            value += piece
            if len(value) > MAX_FIELD_BYTES:
                raise MultipartInvalid(
                    f"The field {self.name!r} has more than {MAX_FIELD_BYTES:,} bytes."
                )
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MultipartInvalid(f"The field {self.name!r} is not UTF-8.") from None


_PARAMETER = re.compile(
    r"""\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))""", re.DOTALL
)


def parse_disposition(value: str) -> tuple[str, dict[str, str]]:
    """Kind and parameters of a Content-Disposition, as the clients of forms really write it.

    Browsers write `"` and line breaks in a name as %22, %0D and %0A and leave `\\` alone (HTML
    standard, multipart/form-data), older curl writes `\\"` and `\\\\` (RFC 9110, 5.6.4).
    `filename*` (RFC 8187) is not for forms, yet some clients send it, and then it says more.
    Raises MultipartInvalid.
    """
    value = value.rstrip("; \t")
    kind = value.partition(";")[0]
    parameters: dict[str, str] = {}
    at = len(kind)
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None or match[1].lower() in parameters:
            raise MultipartInvalid("A part's Content-Disposition is not well formed.")
        name, quoted, token = match[1].lower(), match[2], match[3]
        text = token if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        if name.endswith("*"):
            extended = _extended_value(text)
            if extended is not None:
                parameters[name] = extended
        else:
            for code, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
                text = text.replace(code, character)
            parameters[name] = text
        at = match.end()
    return kind.strip().lower(), parameters


def _extended_value(text: str) -> str | None:
    """RFC 8187, section 3.2; None for what cannot be decoded."""
    charset, quote, rest = text.partition("'")
    _language, second, encoded = rest.partition("'")
    if not quote or not second or charset.lower() not in ("utf-8", "iso-8859-1"):
        return None
    try:
        return unquote(encoded, charset, "strict")
    except UnicodeDecodeError:
        return None


class MultipartReader:
    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """Raises MultipartInvalid when `content_type` names no usable boundary."""
        header = Message()
        header["Content-Type"] = content_type
        boundary = header.get_boundary()
        if not boundary or len(boundary) > 70:
            raise MultipartInvalid(
                "The Content-Type names no boundary of 1 to 70 characters (RFC 2046, 5.1.1). "
                "Let your client library set this header."
            )
        self._body = body
        self._events: deque[tuple[_Event, bytes]] = deque()
        self._parts = 0
        self._header_name = self._header_value = b""
        self._headers: dict[str, str] = {}
        self._headers_of_parts: deque[dict[str, str]] = deque()
        self._ended = False
        self._parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": lambda: self._events.append((_Event.END, b"")),
                "on_end": self._on_end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )

    async def parts(self) -> AsyncIterator[Part]:
        while await self._has_more():
            event, _ = await self.next_event()
            assert event is _Event.HEADERS  # a part's body is read to its end before
            yield Part(self, self._headers_of_parts.popleft())

    async def next_event(self) -> tuple[_Event, bytes]:
        """For a part's body. Raises MultipartInvalid when the body ends within a part."""
        if not await self._has_more():
            raise MultipartInvalid(
                "The body ended before its closing boundary. Send the request again."
            )
        return self._events.popleft()

    async def _has_more(self) -> bool:
        """Whether there is another event; reads the body until there is."""
        while not self._events:
            chunk = await anext(self._body, None)
            if chunk is None:
                if not self._ended:
                    raise MultipartInvalid(
                        "The body has no closing boundary; it is incomplete, or its boundary is "
                        "not the one that the Content-Type names."
                    )
                return False
            if self._ended:
                continue  # an epilogue, which RFC 2046 lets a sender add and asks us to ignore
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise MultipartInvalid(f"The body is not multipart/form-data: {error}.") from error
        return True

    # --- the parser's callbacks -------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooManyParts(
                f"A request may hold {MAX_PARTS:,} parts. Send the files in several requests."
            )
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._header_name.decode("latin-1").lower()
        # Browsers send names of files as raw UTF-8 (HTML standard, form submission).
        self._headers[name] = self._header_value.decode("utf-8", "replace").strip()
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        self._headers_of_parts.append(self._headers)
        self._events.append((_Event.HEADERS, b""))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append((_Event.DATA, data[start:end]))

    def _on_end(self) -> None:
        self._ended = True
