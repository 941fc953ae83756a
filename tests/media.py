"""Sample files of every kind, made at run time: no binary lies in the repository.

Pictures are photo-like (gradients, shapes, grain) and carry a colour in each corner, so that a
test sees which way up a result is: red, green, blue and yellow, from the top left by rows.
Everything is cached by its arguments: a test that asks for the same file pays nothing.
"""

from __future__ import annotations

import array
import functools
import io
import math
import random
import struct
import tempfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import pillow_heif
from av.filter import Graph
from PIL import Image, ImageChops, ImageCms, ImageDraw
from pypdf import PdfReader, PdfWriter

RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 40), (30, 40, 230), (240, 220, 20)
CORNERS = (RED, GREEN, BLUE, YELLOW)

SENTENCE = "The quick brown fox jumps over the lazy dog."

# --- pictures ----------------------------------------------------------------------------


@functools.cache
def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture with gradients, shapes, grain and coloured corners. Do not change it: copy."""
    dice = random.Random(width * 100_003 + height)
    size = (width, height)
    bands = [
        Image.linear_gradient("L"),
        Image.radial_gradient("L"),
        Image.linear_gradient("L").rotate(90),
    ]
    picture = Image.merge("RGB", [band.resize(size) for band in bands])
    coarse = (max(1, width // 2), max(1, height // 2))
    grain = Image.frombytes("L", coarse, dice.randbytes(coarse[0] * coarse[1]))
    grain = grain.point(lambda v: 96 + v // 4).resize(size)
    picture = ImageChops.overlay(picture, Image.merge("RGB", [grain] * 3))
    draw = ImageDraw.Draw(picture)
    for _ in range(24):
        x, y, r = dice.randrange(width), dice.randrange(height), dice.randrange(2, 40)
        across = max(1, min(size) * r // 100)
        colour = tuple(dice.randrange(256) for _ in range(3))
        draw.ellipse((x, y, x + across, y + across), fill=colour)
    w, h = max(1, width // 6), max(1, height // 6)
    for colour, at in zip(
        CORNERS, [(0, 0), (width - w, 0), (0, height - h), (width - w, height - h)], strict=True
    ):
        draw.rectangle((*at, at[0] + w, at[1] + h), fill=colour)
    return _in_mode(picture, mode)


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """`picture` in `mode`; modes with transparency have a clear ellipse in the middle."""
    if mode in ("RGBA", "LA", "PA"):
        clear = Image.new("L", picture.size, 255)
        w, h = picture.size
        ImageDraw.Draw(clear).ellipse((w // 4, h // 4, w * 3 // 4, h * 3 // 4), fill=0)
        picture = picture.copy()
        picture.putalpha(clear)
        return picture if mode == "RGBA" else picture.convert(mode)
    if mode == "I;16":
        grey = picture.convert("L").tobytes()
        return Image.frombytes("I;16", picture.size, b"".join(bytes((v, v)) for v in grey))
    if mode == "F":
        return picture.convert("F")
    if mode == "P":
        return picture.quantize(64)
    return picture.convert(mode)


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def exif(*, orientation: int = 1, gps: bool = False) -> bytes:
    """An EXIF block as a camera writes it: maker, orientation, and the place if `gps`."""
    block = Image.Exif()
    block[0x010F] = "Example Cameras"
    block[0x0112] = orientation
    if gps:
        block.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return block.tobytes()


def swapped_profile() -> bytes:
    """An ICC profile in which red and blue are exchanged: nobody mistakes it for sRGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        srgb.replace(b"rXYZ", b"-XYZ")
        .replace(b"bXYZ", b"rXYZ")
        .replace(b"-XYZ", b"bXYZ")
        .replace(b"s\0R\0G\0B", b"s\0W\0A\0P")
        .replace(b"sRGB", b"SWAP")
    )


@functools.cache
def jpeg(
    width: int = 640,
    height: int = 480,
    *,
    orientation: int = 1,
    mode: str = "RGB",
    gps: bool = False,
    profile: bytes | None = None,
    progressive: bool = False,
    quality: int = 88,
) -> bytes:
    """A JPEG whose pixels are as stored: with `orientation` 6 it is shown turned."""
    return _saved(
        photo(width, height, mode),
        "JPEG",
        quality=quality,
        progressive=progressive,
        exif=exif(orientation=orientation, gps=gps),
        **({"icc_profile": profile} if profile else {}),
        xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Secret place</x:xmpmeta>",
    )


@functools.cache
def png(width: int = 640, height: int = 480, *, mode: str = "RGB") -> bytes:
    return _saved(photo(width, height, mode), "PNG", compress_level=1)


@functools.cache
def png_16bit_rgb(width: int = 64, height: int = 48) -> bytes:
    """A PNG of 16 bits per channel, which Pillow itself cannot write."""
    rows = photo(width, height).tobytes()
    stride = width * 3
    lines = (rows[at : at + stride] for at in range(0, len(rows), stride))
    scanlines = b"".join(b"\0" + b"".join(bytes((v, v)) for v in line) for line in lines)
    return _png(width, height, depth=16, colour=2, data=zlib.compress(scanlines))


@functools.cache
def webp(
    width: int = 640, height: int = 480, *, mode: str = "RGB", lossless: bool = False
) -> bytes:
    return _saved(photo(width, height, mode), "WEBP", quality=80, method=0, lossless=lossless)


@functools.cache
def gif(width: int = 320, height: int = 240, *, frames: int = 1) -> bytes:
    """A GIF; the first of several frames is upright, the others are upside down."""
    first = photo(width, height, "P")
    later = []
    for number in range(1, frames):
        frame = first.transpose(Image.Transpose.ROTATE_180)
        frame.paste(number, (0, 0, number, 4))  # frames alike would become one
        later.append(frame)
    return _saved(first, "GIF", save_all=True, append_images=later, duration=80, loop=0)


@functools.cache
def tiff(
    width: int = 640, height: int = 480, *, mode: str = "RGB", pages: int = 1, packing: str = "raw"
) -> bytes:
    """A TIFF. `packing` is Pillow's `compression`, e.g. `tiff_lzw`."""
    page = photo(width, height, mode)
    return _saved(
        page, "TIFF", compression=packing, save_all=True, append_images=[page] * (pages - 1)
    )


@functools.cache
def bmp(width: int = 640, height: int = 480) -> bytes:
    return _saved(photo(width, height), "BMP")


@functools.cache
def avif(width: int = 320, height: int = 240, *, mode: str = "RGB", orientation: int = 1) -> bytes:
    return _saved(
        photo(width, height, mode), "AVIF", quality=70, speed=10, exif=exif(orientation=orientation)
    )


@functools.cache
def heic(width: int = 320, height: int = 240, *, orientation: int = 1, gps: bool = False) -> bytes:
    """A HEIC; `orientation` becomes the file's own turn (`irot`), as on a phone."""
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(photo(width, height))
    heif.save(out, quality=60, exif=exif(orientation=orientation, gps=gps))
    return out.getvalue()


# --- documents ---------------------------------------------------------------------------


@functools.cache
def pdf(
    pages: int = 3,
    text: str = SENTENCE,
    *,
    title: str | None = "Sample document",
    size: tuple[float, float] = (595, 842),
    lines: int = 20,
) -> bytes:
    """A PDF with a heading, `lines` lines of `text` and coloured corners on every page."""
    info = b""
    if title is not None:
        info = (
            b"<< /Title "
            + _pdf_string(title)
            + (
                b" /Author (Ada Lovelace) /Subject (Tests) /Creator (tests/media.py)"
                b" /Producer (By hand) /CreationDate (D:20240229123456+02'00') >>"
            )
        )
    return _pdf_file(
        [_pdf_page(text, number, lines, size) for number in range(1, pages + 1)], info, size
    )


def _pdf_string(text: str) -> bytes:
    return b"<" + (b"\xfe\xff" + text.encode("utf-16-be")).hex().encode() + b">"


def _pdf_page(text: str, number: int, lines: int, size: tuple[float, float]) -> bytes:
    w, h = size
    boxes = zip(
        CORNERS, [(0, h * 5 / 6), (w * 5 / 6, h * 5 / 6), (0, 0), (w * 5 / 6, 0)], strict=True
    )
    content = [
        f"{r / 255:.3f} {g / 255:.3f} {b / 255:.3f} rg {x:.2f} {y:.2f} {w / 6:.2f} {h / 6:.2f} re f"
        for (r, g, b), (x, y) in boxes
    ]
    content.append(f"0 g BT /F1 24 Tf {w * 0.2:.2f} {h * 0.75:.2f} Td (Page {number}) Tj /F1 9 Tf")
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    content += [f"0 -12 Td ({escaped}) Tj" for _ in range(lines)]
    return ("\n".join([*content, "ET"])).encode("latin-1")


def _pdf_file(contents: list[bytes], info: bytes, size: tuple[float, float]) -> bytes:
    """The objects of a PDF 1.7 file with its table of offsets (ISO 32000-1, 7.5)."""
    first = 4
    kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(contents)} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, content in enumerate(contents):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}]"
            f" /Resources << /Font << /F1 3 0 R >> >> /Contents {first + 2 * i + 1} 0 R >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    if info:
        objects.append(info)
    return _pdf_objects(objects, info_number=len(objects) if info else 0)


def _pdf_objects(objects: list[bytes], *, info_number: int = 0) -> bytes:
    """The file around its objects, of which the first is the catalogue."""
    out, offsets = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    about = b" /Info %d 0 R" % info_number if info_number else b""
    out += b"trailer\n<< /Size %d /Root 1 0 R%s >>\n" % (len(objects) + 1, about)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def filled_form() -> bytes:
    """A PDF whose field is filled in: its red look belongs to the form, not to the page."""
    red = b"1 0 0 rg 0 0 100 100 re f"
    return _pdf_objects(
        [
            b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Annots [4 0 R] >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada) /F 4"
            b" /Rect [0 0 100 100] /AP << /N 5 0 R >> >>",
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 100 100] /Length %d >>\nstream\n%s\n"
            b"endstream" % (len(red), red),
        ]
    )


def slow_pdf(shapes: int = 100_000) -> bytes:
    """A page of very many see-through shapes: seconds of drawing in a few kilobytes of work."""
    dice = random.Random(5)
    content = b"".join(
        b"%d %d m %d %d l %d %d l f*\n" % tuple(dice.randrange(600) for _ in range(6))
        for _ in range(shapes)
    )
    return _pdf_file([content], b"", (600, 600))


def pdf_without_pages() -> bytes:
    return _pdf_file([], b"", (595, 842))


@functools.cache
def encrypted_pdf(*, user_password: str = "opensesame") -> bytes:
    """A PDF that needs a password; with an empty `user_password` only its owner's rights do."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(2))))
    writer.encrypt(user_password, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


# --- videos ------------------------------------------------------------------------------

PIXELS = {"mjpeg": "yuvj420p"}
"""Pixel formats of the encoders that take no other."""


@functools.cache
def video(
    seconds: float = 2,
    width: int = 320,
    height: int = 180,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    audio: bool = True,
    audio_codec: str = "aac",
    rate: int = 25,
    rotation: int = 0,
    black_s: float = 0,
    uneven: bool = False,
    index_first: bool = False,
    hlg: bool = False,
) -> bytes:
    """A moving picture with a tone.

    `rotation` is how far a player turns it clockwise to show it (phones, 90). The first
    `black_s` seconds are black. With `uneven` every third frame is left out. With
    `index_first` the index (moov) stands before the content, as for the web. `hlg` is HDR as
    phones record it, of the same colours.
    """
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        target.metadata["title"] = "Secret title"
        if container in ("mp4", "mov"):
            target.metadata["location"] = "+52.5200+013.4050/"
        pictures = target.add_stream(codec, rate=rate)
        pictures.width, pictures.height = width, height
        pictures.pix_fmt = PIXELS.get(codec, "yuv420p10le" if hlg else "yuv420p")
        pictures.codec_context.time_base = Fraction(1, rate)
        if hlg:
            context = pictures.codec_context
            context.color_trc, context.color_primaries, context.colorspace = 18, 9, 9
        if codec == "libx264":
            pictures.options = {"preset": "ultrafast", "crf": "28"}
        elif codec.startswith("libvpx"):
            pictures.options = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "1M"}
        tone = target.add_stream(audio_codec, rate=48000) if audio else None
        for n in range(round(seconds * rate)):
            if uneven and n % 3 == 1:
                continue
            frame = _video_frame(n, rate, width, height, black=n < black_s * rate)
            frame.pts, frame.time_base = n, Fraction(1, rate)
            target.mux(pictures.encode(_in_hlg(frame) if hlg else frame))
        target.mux(pictures.encode(None))
        if tone is not None:
            for block in _tone(seconds, tone):
                target.mux(tone.encode(block))
            target.mux(tone.encode(None))
    data = _index_first(out.getvalue()) if index_first else out.getvalue()
    return _turned(data, rotation) if rotation else data


def mp4(
    seconds: float = 2, width: int = 320, height: int = 180, audio: bool = True, **options: object
) -> bytes:
    return video(seconds, width, height, audio=audio, container="mp4", **options)


def long_film() -> bytes:
    """To be met in the middle of its work: its codec is none that could be copied."""
    return mp4(20, 1280, 720, codec="mpeg4")


def _video_frame(n: int, rate: int, width: int, height: int, *, black: bool) -> av.VideoFrame:
    if black:
        return av.VideoFrame.from_image(Image.new("RGB", (width, height)))
    picture = photo(width, height).copy()
    x = int((math.sin(n / rate) + 1) / 2 * width * 0.6)
    ImageDraw.Draw(picture).rectangle(
        (x, height // 3, x + width // 5, height * 2 // 3), fill=(250, 250, 250)
    )
    return av.VideoFrame.from_image(picture)


def _in_hlg(frame: av.VideoFrame) -> av.VideoFrame:
    global _to_hlg
    if _to_hlg is None:
        _to_hlg = Graph()
        _to_hlg.link_nodes(
            _to_hlg.add_buffer(
                width=frame.width, height=frame.height, format="rgb24", time_base=frame.time_base
            ),
            _to_hlg.add("setparams", "color_primaries=bt709:color_trc=bt709:range=pc"),
            _to_hlg.add(
                "scale",
                "out_color_matrix=bt2020nc:out_primaries=bt2020"
                ":out_transfer=arib-std-b67:out_range=tv",
            ),
            _to_hlg.add("format", "yuv420p10le"),
            _to_hlg.add("buffersink"),
        ).configure()
    _to_hlg.vpush(frame)
    return _to_hlg.vpull()


_to_hlg: Graph | None = None


def _tone(seconds: float, stream: av.AudioStream) -> list[av.AudioFrame]:
    """A quiet 440 Hz in blocks that the encoder takes."""
    rate, block = 48000, 1024
    blocks = []
    for start in range(0, int(seconds * rate), block):
        wave = array.array("h")
        for t in range(start, start + block):
            value = int(6000 * math.sin(2 * math.pi * 440 * t / rate))
            wave.extend((value, value))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=block)
        frame.planes[0].update(wave.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = start, rate, Fraction(1, rate)
        blocks.append(frame)
    return blocks


def _index_first(data: bytes) -> bytes:
    """The same file, its packets copied, with the index in front."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with (
            av.open(io.BytesIO(data)) as source,
            av.open(file.name, "w", options={"movflags": "+faststart"}) as target,
        ):
            copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
        return Path(file.name).read_bytes()


def _turned(data: bytes, rotation: int) -> bytes:
    """The MP4 with the matrix of its first track set (ISO 14496-12, 8.3.2: tkhd)."""
    one = 0x10000
    matrix = {
        90: (0, one, 0, -one, 0, 0, 0, 0, 0x40000000),
        180: (-one, 0, 0, 0, -one, 0, 0, 0, 0x40000000),
        270: (0, -one, 0, one, 0, 0, 0, 0, 0x40000000),
    }[rotation]
    at = data.index(b"tkhd") + 4 + 40
    return data[:at] + struct.pack(">9i", *matrix) + data[at + 36 :]


@functools.cache
def audio_only_mp4(seconds: float = 1) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        tone = target.add_stream("aac", rate=48000)
        for block in _tone(seconds, tone):
            target.mux(tone.encode(block))
        target.mux(tone.encode(None))
    return out.getvalue()


def squeezed_mp4() -> bytes:
    """A video whose pixels are twice as wide as high, as on old camcorders: 160 by 180 stored,
    320 by 180 shown."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        pictures = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = 160, 180, "yuv420p"
        pictures.codec_context.sample_aspect_ratio = Fraction(2)
        for n in range(10):
            target.mux(pictures.encode(_video_frame(n, 25, 160, 180, black=False)))
        target.mux(pictures.encode(None))
    return out.getvalue()


# --- broken and hostile files ------------------------------------------------------------


def truncated(data: bytes, keep: float = 0.6) -> bytes:
    """The first part of a file, as after a broken transfer."""
    return data[: int(len(data) * keep)]


def damaged(data: bytes, *, start: float = 0.5, length: int = 2000) -> bytes:
    """The file with a stretch of its bytes replaced by noise."""
    at = int(len(data) * start)
    noise = random.Random(7).randbytes(min(length, len(data) - at))
    return data[:at] + noise + data[at + len(noise) :]


def png_header_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A tiny PNG that claims `width` by `height` pixels."""
    return _png(width, height, depth=8, colour=2, data=zlib.compress(bytes(1000)))


def _png(width: int, height: int, *, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
