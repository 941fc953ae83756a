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

MAX_ANIMATION_PIXELS = 600_000_000
"""All frames of an animation that is kept, together: 290 of full HD, 1,950 of 640 by 480. WebP
encodes 15 to 25 million a second, for each result; showing the first frame has no such bound."""

MAX_ICC_PROFILE_BYTES = 4 * 1024 * 1024
"""The largest profiles of printers have 2 to 3 MB; a larger one is ignored, not refused."""

MAX_JPEG_SCANS = 200
"""Each scan of a progressive JPEG passes over the whole picture and costs a few bytes when it is
empty. Encoders write about ten; libjpeg-turbo's own tools advise 500 as the bound."""

MAX_PNG_CHUNKS = 300_000
"""libpng writes 8 KiB of pixels a chunk: 65,000 in a file of 512 MiB."""

MAX_PNG_TEXT_BYTES = 8 * 1024 * 1024
"""One text or profile of a PNG, unpacked: 8 KB can unpack to 8 MB. XMP with the history of an
edited picture has 1 or 2 MB."""

MAX_PNG_TEXT_TOTAL_BYTES = 64 * 1024 * 1024
"""All of them together, as in Pillow."""

MAX_GIF_BLOCKS = 4_000_000
"""Pieces of data, 255 bytes at most and full in every real file: 1 GB. An empty piece costs one
byte and a step."""

MAX_TIFF_VALUES = 1_100_000
"""Values of one tag, each of which becomes an object: 268 megapixels in tiles of 16 by 16."""

MAX_TIFF_TAGS = 65_535
"""Entries of one page, which the classic format bounds and BigTIFF does not."""

MAX_HEIF_ITEMS = 4_096
"""Parts of a HEIC or AVIF, the tiles of a grid among them: 200 megapixels in tiles of 512 by 512
are 800."""

MAX_EXIF_BYTES = 1024 * 1024
"""Camera and date are not looked for in a larger block: JPEG holds 64 KB, other formats a few
hundred with the maker's preview."""

MAX_RESULT_SIDE_PX = 16_383
"""WebP's limit (14 bits)."""

MAX_RESULT_PIXELS = 100_000_000
"""One result, at 4 bytes a pixel beside what it is made from: 400 MB."""

# --- documents ---------------------------------------------------------------------------

MAX_PDF_PAGES = 20_000
"""The longest real documents (collected law, log prints) have about 10,000 pages."""

MAX_PDF_RENDER_S = 20.0
"""For one page. Plans and maps take a few seconds; what is drawn by then is the picture."""

MAX_PDF_PAGE_CPU_S = 40.0
"""For one page to be opened, read and drawn. Drawing has pauses and ends after
`MAX_PDF_RENDER_S`; a pattern of a billion tiles or forms that draw each other have none."""

MAX_PDF_MEMORY_BYTES = 1024 * 1024 * 1024
"""That the process may grow by. pdfium aborts where memory ends, and what ends like that is
tried again; half of what an attempt may use by default leaves time to notice."""

MAX_PDF_PICTURES = 900
"""How many pages are drawn at most: an attempt may leave 1,000 files."""

MAX_PDF_EDGE_PX = 4096
"""The longest side of a page's picture: A4 at 350 dpi, 67 MB while it is drawn."""

MAX_PDF_STREAM_BYTES = 256 * 1024 * 1024
"""What one stream may inflate to. pdfium holds it whole, and aborts where memory ends; maps and
plans have content of up to 100 MB."""

MAX_PDF_STREAMS_BYTES = 2 * 1024 * 1024 * 1024
"""What all large ones may inflate to together: they are inflated once to be counted, at 300 MB
in a second."""

MAX_PDF_STRUCTURE_S = 15.0
"""Processor time for the search for scripts and attachments: 500,000 objects are read in 10 s."""

MAX_PDF_OBJECTS = 500_000
"""That this search looks at; each stays in memory, with 1 kB."""

MAX_PDF_REWRITTEN_BYTES = 128 * 1024 * 1024
"""An encrypted or damaged document is copied in memory for this search."""

MAX_PDF_OUTLINE_ENTRIES = 10_000
"""The longest real ones (standards, collected law) have 3,000 to 5,000."""

MAX_PDF_OUTLINE_DEPTH = 15
"""Readers stop at about as many; each level is a level of recursion."""

MAX_PDF_ATTACHMENTS = 100
"""Told by name; the others are counted. Facts travel in one report, bounded as a whole."""

MAX_PDF_ATTACHMENT_NAME_CHARS = 255
"""What a file system allows in a name."""

MAX_PDF_PAGE_SIZES = 20
"""Different sizes told. A scan by hand has a new size on each page."""

MAX_PDF_UNREADABLE_LISTED = 100
"""Numbers of unreadable pages told; they are all counted."""

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
