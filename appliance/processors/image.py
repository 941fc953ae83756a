"""Pictures: previews in three sizes, and what the picture is.

Everything about a picture that could surprise a browser is settled here: which way up it is,
its colour space, more than 8 bits, palettes, CMYK, animation (the first frame is shown). The
results are sRGB WebP with no metadata at all: no place, no camera, no hidden preview.

Limits: HDR gain maps and the colour tags of AVIF/HEIC/PNG that are no ICC profile (CICP) are
ignored. A JPEG with wrong bytes in the middle decodes to a picture with a flaw, as in browsers;
only a missing end is noticed.
"""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pillow_heif
from PIL import (  # noqa: F401  (each plug-in registers its format)
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from appliance.errors import LimitExceeded, UnsupportedFile
from appliance.processors import limits, thumbhash
from appliance.processors.faults import blaming_the_file
from appliance.processors.pictures import THUMBNAIL, copy_webp, fit, fitted, save_webp
from appliance.processors.protocol import Reporter, Task

Image.MAX_IMAGE_PIXELS = None  # Pillow warns before it refuses; `limits` refuses at once

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

RESULTS = (("web-2048.webp", 2048), ("web-1280.webp", 1280), THUMBNAIL)
"""From large to small: each is made from the one before, which costs a tenth of decoding."""

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

ORIENTATION_TAG = 0x0112


class ImageOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[image]`."""


class ImageProcessor:
    """See `protocol.Processor`."""

    name = "image"
    version = "1"
    content_types = tuple(FORMATS)
    options = ImageOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Decode one tiny picture of each format and encode a WebP."""
        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
        for sample, format in _samples():
            with Image.open(io.BytesIO(sample), formats=[format]) as picture:
                picture.load()
                picture.getexif()
        tiny = Image.new("RGBA", (8, 8))
        tiny.save(io.BytesIO(), "WEBP", method=0)
        _to_srgb(tiny, _SRGB.tobytes())
        _impression(tiny)

    def process(self, task: Task[ImageOptions], report: Reporter) -> dict[str, Any]:
        """Facts: width, height (as shown), format, mode, frames, hasAlpha, dominantColor
        (`#rrggbb`), thumbhash (base64). Raises CorruptFile, UnsupportedFile, LimitExceeded."""
        with warnings.catch_warnings(), blaming_the_file("picture"):
            warnings.simplefilter("ignore")  # Pillow's doubts about metadata that we drop
            report.progress(0.0, "reading")
            with task.input_path.open("rb") as file:
                source = _open(file, task.content_type)
                facts = _describe(source)
                report.progress(0.05, "decoding")
                _decode(source)
                orientation, profile = _orientation(source), source.info.get("icc_profile")
                report.progress(0.3, "resizing")
                picture = fit(_plain(source), RESULTS[0][1])
            report.progress(0.5, "converting colours")
            picture = _to_srgb(_upright(picture, orientation), profile)
            picture = _save_results(picture, task.output_dir, report)
            report.progress(0.99, "describing")
            return _as_shown(facts, orientation) | _impression(picture)


def _open(file: BinaryIO, content_type: str) -> Image.Image:
    """The picture with its header read and its claims held against the limits."""
    format = FORMATS.get(content_type)
    if format is None:
        raise UnsupportedFile(f"Pictures of type {content_type} are not supported.")
    limits.hold("picture file", file.seek(0, 2), limits.MAX_IMAGE_BYTES, "bytes")
    picture = Image.open(file, formats=[format])
    limits.hold("picture", picture.width * picture.height, limits.MAX_IMAGE_PIXELS, "pixels")
    return picture


def _describe(source: Image.Image) -> dict[str, Any]:
    """The facts that the header gives. `JPEG` with further pictures inside (MPO) is a JPEG."""
    format = "JPEG" if source.format == "MPO" else source.format
    return {
        "width": source.width,
        "height": source.height,
        "format": str(format).lower(),
        "mode": source.mode,
        "frames": 1 if source.format == "MPO" else _frames(source),
        "hasAlpha": source.has_transparency_data,
    }


def _frames(source: Image.Image) -> int:
    if source.format != "TIFF":
        return int(getattr(source, "n_frames", 1))
    return _tiff_pages(source)


def _tiff_pages(source: Image.Image) -> int:
    """Walked step by step: Pillow's own count follows the chain of pages however long it is."""
    for page in range(limits.MAX_IMAGE_FRAMES + 1):
        try:
            source.seek(page)
        except EOFError:
            source.seek(0)
            return page
    raise LimitExceeded(f"The TIFF has more than {limits.MAX_IMAGE_FRAMES:,} pages.")


def _decode(source: Image.Image) -> None:
    """Load the pixels; those of a large JPEG at the smallest scale that still suffices."""
    if source.format in ("JPEG", "MPO"):
        source.draft(None, fitted(source.size, RESULTS[0][1]))
    pixels = source.width * source.height
    limits.hold("picture", pixels, limits.MAX_DECODED_PIXELS, "pixels")
    source.load()


def _orientation(source: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or it makes no sense. After `load`: a PNG may
    have it behind the pixels."""
    try:
        return int(source.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  a broken EXIF block is dropped, it is not the picture
        return 1


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in L, RGB, RGBA, CMYK or LAB: 8 bits, no palette, alpha as a channel."""
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode.startswith("I;16"):
        # Pillow's own conversion to L cuts off everything above 255. Fitted first, for memory
        picture = fit(picture, RESULTS[0][1])
        return picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode in ("I", "F"):
        return _stretched(picture)
    if picture.mode in ("L", "RGB", "CMYK", "LAB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _stretched(picture: Image.Image) -> Image.Image:
    """32-bit measurements (science, maps) as grey, their own range stretched to 0 to 255."""
    picture = fit(picture, RESULTS[0][1])
    low, high = (float(value) for value in picture.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return picture.convert("L")
    scale = 255 / (high - low)
    return picture.point(lambda value: value * scale - low * scale).convert("L")


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or, where anything is see-through, RGBA, in sRGB. A profile that is broken, absurdly
    large or of another kind of colour is ignored, as in browsers."""
    target = "RGBA" if picture.mode == "RGBA" else "RGB"
    source = _source_profile(picture.mode, profile)
    if source is not None:
        try:
            converted = ImageCms.profileToProfile(picture, source, _SRGB, outputMode=target)
        except ImageCms.PyCMSError:
            converted = None
        picture = converted or picture
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        target = "RGB"
    return picture.convert(target)


def _source_profile(mode: str, profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """The profile to convert from; None when the picture is as good as sRGB already."""
    if mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if not profile or len(profile) > limits.MAX_ICC_PROFILE_BYTES:
        return None
    try:
        parsed = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        is_srgb = ImageCms.getProfileDescription(parsed).startswith("sRGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if is_srgb else parsed


def _save_results(picture: Image.Image, output_dir: Path, report: Reporter) -> Image.Image:
    """Write `RESULTS`, and return the last and smallest picture."""
    before: str | None = None
    for number, (name, edge_px) in enumerate(RESULTS):
        report.progress(0.6 + number * 0.13, f"writing {name}")
        made = fit(picture, edge_px)
        if before is not None and made is picture:
            copy_webp(made, output_dir, before, name, report)
        else:
            save_webp(made, output_dir, name, report)
        picture, before = made, name
    return picture


def _as_shown(facts: dict[str, Any], orientation: int) -> dict[str, Any]:
    """The facts with width and height exchanged when the picture lay on its side."""
    if orientation not in (5, 6, 7, 8):
        return facts
    return facts | {"width": facts["height"], "height": facts["width"]}


def _impression(thumbnail: Image.Image) -> dict[str, Any]:
    return {"dominantColor": _dominant_color(thumbnail), "thumbhash": _thumbhash(thumbnail)}


def _dominant_color(picture: Image.Image) -> str:
    """The middle of the fullest of 4,096 bins of colour (16 a channel), as sharp does it."""
    data = fit(picture, 100).convert("RGBA").tobytes()
    pixels = zip(data[0::4], data[1::4], data[2::4], data[3::4], strict=True)
    bins = Counter((r >> 4, g >> 4, b >> 4) for r, g, b, alpha in pixels if alpha >= 128)
    red, green, blue = max(bins, key=bins.__getitem__, default=(0, 0, 0))
    return f"#{red * 16 + 8:02x}{green * 16 + 8:02x}{blue * 16 + 8:02x}"


def _thumbhash(picture: Image.Image) -> str:
    """Base64, of a copy of 48 px (3 ms): the hash holds seven waves across at most."""
    small = fit(picture, 48).convert("RGBA")
    return base64.b64encode(thumbhash.encode(*small.size, small.tobytes())).decode()


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

PROCESSOR = ImageProcessor()
