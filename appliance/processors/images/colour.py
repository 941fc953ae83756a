"""Colours as every screen expects them, or as they were with the profile that explains them.

Limits: HDR gain maps and the colour tags of AVIF, HEIC and PNG that are no ICC profile (CICP)
are ignored. Profiles are read by littleCMS, as Pillow brings it.
"""

from __future__ import annotations

import io
import struct

from PIL import Image, ImageCms

from appliance.processors import limits

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

_COLOUR_TAGS = frozenset(
    b"wtpt bkpt rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC chad lumi cicp gamt"
    b" A2B0 A2B1 A2B2 B2A0 B2A1 B2A2".split()
)
"""What a profile says about colours (ICC.1:2022, 9.2); the rest are names, serials and dates."""


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
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


def in_colours(
    picture: Image.Image, profile: bytes | None, *, keep: bool
) -> tuple[Image.Image, bytes | None]:
    """`picture` ready to be written, and the profile to write beside it: none for sRGB.

    With `keep` colours stay as they are if every format can have them, which is RGB with a
    profile; grey, CMYK and LAB become sRGB all the same.
    """
    source = _source_profile(picture.mode, profile) if keep else None
    if source is None or profile is None:
        return to_srgb(picture, profile), None
    if picture.mode not in ("RGB", "RGBA") or source.profile.xcolor_space.strip() != "RGB":
        return to_srgb(picture, profile), None
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    return picture, _scrubbed(profile)


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


def _scrubbed(profile: bytes) -> bytes:
    """`profile` with nothing but its colours: a screen's own profile holds its serial number and
    often the name of who measured it. ICC.1:2022, 7.2 (header) and 7.3 (tag table)."""
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for number in range(min(count, 100)):
        signature, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if signature in _COLOUR_TAGS:
            tags[signature] = profile[at : at + size]
    tags[b"desc"], tags[b"cprt"] = _texts(version=profile[8])
    table, body = [struct.pack(">I", len(tags))], b""
    for signature, data in tags.items():
        at = 132 + 12 * len(tags) + len(body)
        table.append(struct.pack(">4sII", signature, at, len(data)))
        body += data + bytes(-len(data) % 4)
    header = bytearray(profile[:128])
    header[4:8] = header[80:84] = header[40:44] = bytes(4)  # who made it, on what
    header[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    header[48:64] = bytes(16)  # device
    header[84:100] = bytes(16)  # digest of what it was
    whole = bytes(header) + b"".join(table) + body
    return struct.pack(">I", len(whole)) + whole[4:]


def _texts(*, version: int) -> tuple[bytes, bytes]:
    """Description and copyright, which every profile must have."""
    text = b"Kept"
    if version >= 4:  # multiLocalizedUnicodeType
        unicode = text.decode().encode("utf-16-be")
        localized = b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(unicode), 28) + unicode
        return localized, localized
    described = (
        b"desc" + struct.pack(">II", 0, len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
    )
    return described, b"text" + bytes(4) + text + b"\0"


def flattened(picture: Image.Image, background: str) -> Image.Image:
    """`picture` laid on `background` (`#rrggbb`), RGB or L."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGBA", picture.size, background[:7])
    return Image.alpha_composite(ground, picture).convert("RGB")


def warm() -> None:
    tiny = Image.new("RGBA", (8, 8))
    to_srgb(tiny, _SRGB.tobytes())
