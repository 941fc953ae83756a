"""Every other allowed file: read to its end once, and a text described.

Imports no media library: whatever the bytes are, they are counted and hashed, never parsed.
"""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from appliance.processors.active_content import ActiveContent
from appliance.processors.pace import Pace
from appliance.processors.protocol import Reporter, Task

BLOCK_BYTES = 1024 * 1024

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


TEXTS = {"application/xml", "application/json"}
"""Text, though not called so."""


class AnyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[any]`."""

    preview_bytes: Annotated[int, msgspec.Meta(ge=0, le=1024 * 1024)] = 4096
    """How much of a text its preview shows, from the beginning; 0 makes none."""


class AnyProcessor:
    """See `protocol.Processor`."""

    name = "any"
    version = "3"
    content_types = ("*/*",)
    options = AnyOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Hash and decode nothing, so that the codecs are loaded."""
        hashlib.sha256(b"").hexdigest()
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
            codecs.getincrementaldecoder(encoding)("replace").decode(b"", final=True)

    def process(self, task: Task[AnyOptions], report: Reporter) -> dict[str, Any]:
        """Facts: digest (`sha256:` and hex), sizeBytes; for text also lineCount, wordCount and
        encoding; activeContent where it was looked for.

        Result for text: `preview.txt`, its beginning in UTF-8. An OSError is not the file's
        fault: it cannot be broken, only unreadable.
        """
        path = task.input_path
        report.progress(0.0, "reading")
        is_text = task.content_type.startswith("text/") or task.content_type in TEXTS
        text = _Text(task.options.preview_bytes) if is_text else None
        active = ActiveContent(task.content_type)
        facts = _read_through(path, text, active, Pace(report, 0.0, 0.99)) | active.facts()
        if text is None:
            return facts
        if text.preview:
            preview = task.output_dir / "preview.txt"
            preview.write_text(text.preview, encoding="utf-8", newline="")
            report.output(preview.name, "text/plain")
        return facts | {
            "lineCount": text.line_count,
            "wordCount": text.word_count,
            "encoding": text.encoding,
        }


def _read_through(
    path: Path, text: _Text | None, active: ActiveContent, pace: Pace
) -> dict[str, Any]:
    """Digest and size of what is really read; `text` and `active` are fed with it."""
    total = path.stat().st_size
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size_bytes += len(block)
            active.feed(block)
            if text is not None:
                text.feed(block)
            pace.tell(size_bytes / max(total, 1), "reading")
    return {"digest": f"sha256:{digest.hexdigest()}", "sizeBytes": size_bytes}


class _Text:
    """Counts lines and words, and finds out the encoding of a text that comes in blocks.

    UTF-8 until a byte contradicts it, then Latin-1, which nothing contradicts; UTF-16 by its
    byte order mark. Lines end with LF; a last one without it counts. In UTF-16 the count is of
    the byte 0x0A, so that some letters (Gujarati, a dotted C) are taken for line ends; words are
    what stands between ASCII's blanks, with the same flaw.
    """

    def __init__(self, preview_bytes: int) -> None:
        self._preview_bytes = preview_bytes
        self.word_count = 0
        self._head = b""
        self._mark: str | None = None
        self._utf8: codecs.IncrementalDecoder | None = None
        self._is_utf8 = True
        self._breaks = 0
        self._last = b""

    def feed(self, block: bytes) -> None:
        if self._utf8 is None:
            self._mark = next(
                (name for bom, name in BYTE_ORDER_MARKS if block.startswith(bom)), None
            )
            self._utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        if len(self._head) < self._preview_bytes:
            self._head += block[: self._preview_bytes - len(self._head)]
        self.word_count += len(block.split())
        if self._last[-1:].strip() and block[:1].strip():
            self.word_count -= 1  # it goes on across the border of the blocks
        self._breaks += block.count(b"\n")
        self._last = block[-2:]
        if self._is_utf8:
            try:
                self._utf8.decode(block)
            except UnicodeDecodeError:
                self._is_utf8 = False

    @property
    def line_count(self) -> int:
        ended = not self._last or b"\n" in self._last[-2 if self._mark == "utf-16" else -1 :]
        return self._breaks + (not ended)

    @property
    def encoding(self) -> str:
        """As Python and IANA name it."""
        if self._mark is not None:
            return self._mark.removesuffix("-sig")
        cut_through = self._utf8 is not None and self._utf8.getstate()[0]
        return "utf-8" if self._is_utf8 and not cut_through else "latin-1"

    @property
    def preview(self) -> str:
        """The beginning, without a character that the cut went through."""
        encoding = self._mark or self.encoding
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        return decoder.decode(self._head).replace("\0", "\N{REPLACEMENT CHARACTER}")


PROCESSOR = AnyProcessor()
