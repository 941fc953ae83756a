"""What one file may claim or cost, each bound with its reason.

These guard against files that are small on disk and huge in memory or time. They are checked
from headers, before anything is decoded, and a file beyond one is refused with `LimitExceeded`.
What a child may use (memory, processor time, wall clock) is bounded from outside as well, by
`protocol.Limits`; the bounds here give the owner a reason instead of a killed process.
"""

from __future__ import annotations

from appliance.errors import LimitExceeded

# --- pictures ----------------------------------------------------------------------------

MAX_IMAGE_BYTES = 512 * 1024 * 1024
"""The decoders of WebP, AVIF and HEIC read the whole file into memory."""

MAX_IMAGE_PIXELS = 16_383 * 16_383
"""What a picture may claim: 268 megapixels, sharp's default. Phones make 200."""

MAX_DECODED_PIXELS = 110_000_000
"""What is decoded at full size, at 4 bytes a pixel, twice when the mode is converted: 880 MB.

A JPEG is decoded at 1/2 to 1/8 of its size, so that 200 megapixels of a phone stay under this.
"""

MAX_IMAGE_FRAMES = 10_000
"""Frames of an animation or pages of a TIFF: counting them walks a chain that a hostile file
can make as long as it is."""

MAX_ICC_PROFILE_BYTES = 4 * 1024 * 1024
"""The largest profiles of printers have 2 to 3 MB; a larger one is ignored, not refused."""

# --- documents ---------------------------------------------------------------------------

MAX_PDF_PAGES = 20_000
"""The longest real documents (collected law, log prints) have about 10,000 pages."""

MAX_PDF_RENDER_S = 20.0
"""For one page. Plans and maps take a few seconds; what is drawn by then is the picture."""

RENDERED_PDF_PAGES = 5
"""How many pages are drawn: enough to look into a document, at 40 to 400 ms each."""

MAX_PDF_TEXT_CHARS = 20_000_000
"""About 8,000 dense pages. Text beyond it is left out, and the facts say so."""

MAX_PDF_FIELD_CHARS = 1_000
"""A title or author longer than this is cut: facts travel in one report."""

# --- videos ------------------------------------------------------------------------------

MAX_VIDEO_DURATION_S = 6 * 60 * 60
"""Six hours: a long film, a day's lecture. A header may claim anything, timestamps may jump."""

MAX_VIDEO_PIXELS = 8_192 * 4_608
"""8K with some room. A decoder keeps up to 16 frames of this size, 57 MB each."""

MAX_VIDEO_STREAMS = 64
"""Tracks in the container, of any kind; each costs buffers while probing."""

MAX_VIDEO_PACKETS = 10_000_000
"""Parts of the tracks that are read, and frames that a header claims: six hours at 120 frames a
second have 2.6 million, and four of sound for each of these is more than there ever are."""

MAX_FILM_FRAME_RATE = 60
"""Frames a second that are encoded, whatever the source has or its header claims: slow motion is
recorded at 240, damaged clocks put thousands into one second. Screens show 60."""

MAX_DAMAGED_SHARE = 0.1
"""Packets of a video that cannot be decoded. A recording of television begins with some, and a
scratch should not cost the whole film; with more it is not worth watching."""


def hold(what: str, value: float, limit: float, unit: str) -> None:
    """Raise LimitExceeded if `value` is beyond `limit`, in words for the owner."""
    if value > limit:
        raise LimitExceeded(
            f"The {what} is {value:,.0f} {unit}; this server processes up to {limit:,.0f} {unit}.",
            limit=limit,
        )
