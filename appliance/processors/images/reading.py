"""A file becomes a picture: the one decoder for its type, its claims held first.

Bombs are refused in `headers.py` and here, before pixels are unpacked.
"""

from __future__ import annotations

import base64
import io
import math
from typing import Any, BinaryIO

import pillow_heif
from PIL import (  # noqa: F401  (each plug-in registers its format)
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from appliance.errors import UnsupportedFile
from appliance.processors import limits
from appliance.processors.images.geometry import Size
from appliance.processors.images.headers import hold_claims, tiff_pages

Image.MAX_IMAGE_PIXELS = None  # Pillow warns before it refuses; `limits` refuses at once
PngImagePlugin.MAX_TEXT_CHUNK = limits.MAX_PNG_TEXT_BYTES
PngImagePlugin.MAX_TEXT_MEMORY = limits.MAX_PNG_TEXT_TOTAL_BYTES

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/x-ms-bmp": "BMP",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "image/heic-sequence": "HEIF",
    "image/heif-sequence": "HEIF",
}
"""The one decoder that a file of each type is given to (Pillow's names)."""

ORIENTATION_TAG = 0x0112

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of EXIF (CIPA DC-008, tag 0x0112); 1 is upright."""


def open_picture(file: BinaryIO, content_type: str) -> Image.Image:
    """The picture with its header read and its claims held against the limits; no pixels yet.

    Raises UnsupportedFile, LimitExceeded, and what Pillow raises about broken headers.
    """
    format = FORMATS.get(content_type)
    if format is None:
        raise UnsupportedFile(f"Pictures of type {content_type} are not supported.")
    limits.hold("picture file", file.seek(0, 2), limits.MAX_IMAGE_BYTES, "bytes")
    hold_claims(file, format)
    picture = Image.open(file, formats=[format])
    limits.hold("picture", picture.width * picture.height, limits.MAX_IMAGE_PIXELS, "pixels")
    return picture


def describe(source: Image.Image, file: BinaryIO) -> dict[str, Any]:
    """The facts that the header gives. `JPEG` with further pictures inside (MPO) is a JPEG."""
    format = "JPEG" if source.format == "MPO" else str(source.format)
    return {
        "width": source.width,
        "height": source.height,
        "format": format.lower(),
        "mode": source.mode,
        "bitDepth": _bit_depth(source, file),
        "frames": _frames(source, format, file),
        "hasAlpha": source.has_transparency_data,
    }


def _frames(source: Image.Image, format: str, file: BinaryIO) -> int:
    if format in ("JPEG", "BMP"):
        return 1
    if format == "TIFF":
        return tiff_pages(file)
    frames = int(getattr(source, "n_frames", 1))
    limits.hold("animation", frames, limits.MAX_IMAGE_FRAMES, "frames")
    return frames


def _bit_depth(source: Image.Image, file: BinaryIO) -> int:
    """Bits of one channel in the file; of a palette's colours it is 8."""
    if source.format == "PNG":
        at = file.tell()
        file.seek(24)
        depth, colour_type = file.read(2)
        file.seek(at)
        return 8 if colour_type == 3 else int(depth)
    if source.format == "TIFF":
        return int(max(source.tag_v2.get(258, (1,))))  # type: ignore[attr-defined]
    depth = source.info.get("bit_depth", 8)  # pillow_heif's
    return int(depth) if source.mode != "1" else 1


def decode(source: Image.Image, sufficient: Size) -> None:
    """Load the pixels; those of a JPEG at the smallest scale that still has `sufficient`."""
    if source.format in ("JPEG", "MPO"):
        source.draft(None, sufficient)
    pixels = source.width * source.height
    limits.hold("picture", pixels, limits.MAX_DECODED_PIXELS, "pixels")
    source.load()


def orientation_of(source: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or it makes no sense. HEIC and AVIF turn their
    pictures themselves. What a PNG has behind the pixels is known after `decode` only."""
    try:
        orientation = int(source.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  a broken EXIF block is dropped, it is not the picture
        return 1
    return orientation if orientation in UPRIGHT else 1


def turned(size: Size, orientation: int) -> Size:
    """`size` as it is shown, or the other way round: the exchange is its own opposite."""
    return (size[1], size[0]) if orientation in (5, 6, 7, 8) else size


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def resized(picture: Image.Image, size: Size) -> Image.Image:
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def plain(picture: Image.Image, size: Size) -> Image.Image:
    """The picture scaled to `size`, in L, RGB, RGBA, CMYK or LAB: 8 bits, no palette, alpha as a
    channel. More bits are cut to 8 after scaling."""
    if picture.has_transparency_data:
        return resized(picture.convert("RGBA"), size)
    if picture.mode.startswith("I;16"):
        # Pillow's own conversion to L cuts off everything above 255
        picture = resized(picture, size).convert("I")
        return picture.point(lambda value: value / 256).convert("L")
    if picture.mode in ("I", "F"):
        return _stretched(resized(picture, size))
    if picture.mode in ("L", "RGB", "CMYK", "LAB"):
        return resized(picture, size)
    return resized(picture.convert("L" if picture.mode == "1" else "RGB"), size)


def _stretched(picture: Image.Image) -> Image.Image:
    """32-bit measurements (science, maps) as grey, their own range stretched to 0 to 255."""
    low, high = (float(value) for value in picture.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return picture.convert("L")
    scale = 255 / (high - low)
    return picture.point(lambda value: value * scale - low * scale).convert("L")


def warm() -> None:
    """Decode one tiny picture of each format."""
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    for sample, format in _samples():
        with Image.open(io.BytesIO(sample), formats=[format]) as picture:
            picture.load()
            picture.getexif()


def _samples() -> list[tuple[bytes, str]]:
    """A tiny picture of each format, and the decoder's name."""
    samples = [(base64.b64decode(AVIF_SAMPLE), "AVIF"), (base64.b64decode(HEIC_SAMPLE), "HEIF")]
    for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        out = io.BytesIO()
        options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
        Image.new("RGB", (8, 8)).save(out, format, **options)
        samples.append((out.getvalue(), format))
    return samples


# 16 by 16 black pixels each. Their encoders (AV1, HEVC) would cost every nursery 11 MB.
AVIF_SAMPLE = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAA"
    "AAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAIwAAAChpaW5mAAAAAAABAAAA"
    "GmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAA"
    "AAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAK21kYXQS"
    "AAoJGAz/2iAhoNCAMhQUx4eGZQIIIJ5BAAB1jyAOSka8TA=="
)
HEIC_SAMPLE = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAACsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAAD"
    "AIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAEAAAAAEA"
    "AAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAM21k"
    "YXQAAAAnKAGvEyExlvhOUKf//WeFzQyVTFq5T6Vz3QpQk3J+uP7yh5PFYoLg"
)
