"""Pictures that tell about people: each place where a format can hold a camera, a place, a name
or a hidden preview is filled, with a word that is then looked for in the results."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin

from tests import media

SECRET = "Lovelace-4711"
XMP = (
    "<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    f"<rdf:RDF><rdf:Description exif:GPSLatitude='52,31.2N' aux:SerialNumber='{SECRET}'/>"
    "</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
).encode()

MAKE, MODEL, LENS = "Example Cameras", "Model Six", "50mm F1.8"


@functools.cache
def exif(*, orientation: int = 1) -> bytes:
    """Camera, owner, serial numbers, place, a maker's note, and a preview (IFD1)."""
    block = Image.Exif()
    block.update({0x010F: MAKE, 0x0110: MODEL, 0x0112: orientation, 0x013B: SECRET})
    block.get_ifd(0x8769).update(
        {
            0x829A: 0.004,
            0x829D: 1.8,
            0x8827: 200,
            0x9003: "2024:02:29 12:34:56",
            0x9011: "+02:00",
            0x920A: 50.0,
            0x927C: f"MakerNote {SECRET}".encode(),
            0xA430: SECRET,  # owner of the camera
            0xA431: SECRET,  # serial number of the body
            0xA434: LENS,
        }
    )
    block.get_ifd(0x8825).update(
        {1: "S", 2: (33.0, 51.0, 24.0), 3: "E", 4: (151.0, 12.0, 36.0), 5: b"\0", 6: 58.0}
    )
    return _with_preview(block.tobytes())


def _with_preview(block: bytes) -> bytes:
    """An IFD1 with a JPEG, which shows what the picture was before it was cropped (TIFF 6.0)."""
    preview = media.jpeg(32, 24)
    tiff = block.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    link = first + 2 + 12 * count
    tags = struct.pack(
        f"{order}HHHIIHHIII", 2, 0x0201, 4, 1, len(tiff) + 30, 0x0202, 4, 1, len(preview), 0
    )
    linked = tiff[:link] + struct.pack(f"{order}I", len(tiff)) + tiff[link + 4 :]
    return b"Exif\0\0" + linked + tags + preview


@functools.cache
def profile() -> bytes:
    """A screen's profile with the name of who measured it, in which red and blue are exchanged."""
    described = b"desc" + struct.pack(">II", 0, len(SECRET) + 1) + SECRET.encode() + bytes(79)
    source = media.swapped_profile()
    (count,) = struct.unpack_from(">I", source, 128)
    tags = [struct.unpack_from(">4sII", source, 132 + 12 * n) for n in range(count)]
    table, body, start = b"", b"", 132 + 12 * count
    for name, at, size in tags:
        data = described if name == b"desc" else source[at : at + size]
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    whole = source[:128] + struct.pack(">I", count) + table + body
    whole = struct.pack(">I", len(whole)) + whole[4:]
    ImageCms.ImageCmsProfile(io.BytesIO(whole))
    return whole


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@functools.cache
def jpeg() -> bytes:
    """EXIF, XMP, a profile, IPTC (APP13), a comment, and a second picture behind the end."""
    data = _saved(
        media.photo(640, 480), "JPEG", exif=exif(), xmp=XMP, icc_profile=profile(), comment=SECRET
    )
    iptc = b"\x1c\x02\x50" + struct.pack(">H", len(SECRET)) + SECRET.encode()  # by-line
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
    app13 = _segment(0xED, b"Photoshop 3.0\0" + block)
    return data[:2] + app13 + data[2:] + SECRET.encode()


@functools.cache
def png() -> bytes:
    """tEXt, zTXt, iTXt with XMP, eXIf, a profile, the time of the last change."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", SECRET)
    texts.add_text("Comment", SECRET * 9, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add_itxt("Source", SECRET, zip=True)
    texts.add(b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 12, 34, 56))
    return _saved(
        media.photo(320, 240, "RGBA"), "PNG", exif=exif(), icc_profile=profile(), pnginfo=texts
    )


@functools.cache
def gif() -> bytes:
    """A comment and XMP as an application's extension; two frames."""
    first = media.photo(160, 120, "P")
    data = _saved(
        first,
        "GIF",
        save_all=True,
        append_images=[first.transpose(Image.Transpose.ROTATE_180)],
        comment=SECRET.encode(),
    )
    pieces = b"".join(
        bytes([len(XMP[at : at + 255])]) + XMP[at : at + 255] for at in range(0, len(XMP), 255)
    )
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + pieces + b"\0;"


@functools.cache
def webp() -> bytes:
    return _saved(media.photo(320, 240), "WEBP", exif=exif(), xmp=XMP, icc_profile=profile())


@functools.cache
def avif() -> bytes:
    return _saved(
        media.photo(320, 240), "AVIF", speed=10, exif=exif(), xmp=XMP, icc_profile=profile()
    )


@functools.cache
def heic() -> bytes:
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(media.photo(320, 240))
    heif.save(out, quality=60, exif=exif(), xmp=XMP)
    return out.getvalue()


@functools.cache
def tiff() -> bytes:
    """Tags of its own for names and software, XMP, IPTC, EXIF, a profile."""
    tags = {0x010D: SECRET, 0x010E: SECRET, 0x0131: SECRET, 0x013B: SECRET, 0x02BC: XMP}
    return _saved(media.photo(320, 240), "TIFF", tiffinfo=tags, exif=exif(), icc_profile=profile())


ALL = (
    ("image/jpeg", jpeg),
    ("image/png", png),
    ("image/gif", gif),
    ("image/webp", webp),
    ("image/avif", avif),
    ("image/heic", heic),
    ("image/tiff", tiff),
)


def parts_of(data: bytes) -> set[str]:
    """The kinds of segments, chunks or items of a JPEG, PNG, WebP or AVIF."""
    if data[:2] == b"\xff\xd8":
        return _jpeg_parts(data)
    if data[:4] == b"\x89PNG":
        return _chunks(data, 8, ">I", name_first=False, between=4)
    if data[:4] == b"RIFF":
        return _chunks(data, 12, "<I", name_first=True, between=0)
    return {kind for kind in ("av01", "Exif", "mime", "colr", "uri ") if kind.encode() in data}


def _chunks(data: bytes, at: int, length: str, *, name_first: bool, between: int) -> set[str]:
    found = set()
    while at < len(data):
        name, size = (data[at : at + 4], data[at + 4 : at + 8])
        if not name_first:
            name, size = size, name
        found.add(name.decode())
        (body,) = struct.unpack(length, size)
        at += 8 + body + (body & 1 if name_first else 0) + between
    assert at == len(data)
    return found


def _jpeg_parts(data: bytes) -> set[str]:
    """Segments of all scans, and `trailer` for what stands behind the end."""
    found, at = set(), 2
    while data[at + 1] != 0xD9:
        assert data[at] == 0xFF
        marker = data[at + 1]
        found.add(f"{marker:02X}")
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        while marker == 0xDA and (data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8))):
            at += 1
    return found | ({"trailer"} if at + 2 < len(data) else set())


def zipped_png_text(unpacked_bytes: int, kind: bytes = b"zTXt") -> bytes:
    """A PNG with a text, or a profile, that unpacks to so much."""
    packed = zlib.compress(bytes(unpacked_bytes), 9)
    body = b"Comment\0\1\0\0\0" + packed if kind == b"iTXt" else b"Comment\0\0" + packed
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data = media.png(64, 48)
    return data[:33] + chunk + data[33:]
