"""What a file is, told by its leading bytes, and which files are taken.

One table. A type is recognised by content alone; the extension and the declared media type may
only agree or contradict. Signatures: the formats' own specifications, cross-checked with
https://www.garykessler.net/library/file_sigs.html and the WHATWG MIME Sniffing Standard.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.jobs import JobType

SNIFF_BYTES = 4096
"""Leading bytes that suffice to recognise every type of the table."""

Matcher = Callable[[bytes], bool]


@dataclass(frozen=True)
class FileType:
    label: str
    """What people call it."""
    content_type: str
    extensions: tuple[str, ...]
    job_type: JobType
    matches: Matcher
    aliases: tuple[str, ...] = ()
    """Other media types that clients declare for it."""
    dangerous: bool = False
    """Runs, or carries script that a browser runs: taken only where `*/*` is allowed."""


def _starts(*signatures: bytes) -> Matcher:
    return lambda head: head.startswith(signatures)


def _binary(matches: Matcher) -> Matcher:
    """For signatures that words have too: `MZ`, `The free` (an MP4's fifth byte is a name)."""
    return lambda head: matches(head) and not _text(head)


def _riff(kind: bytes) -> Matcher:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == kind


def _brand(*brands: bytes) -> Matcher:
    """ISO base media files: the major brand, then the compatible ones (ISO/IEC 14496-12, 4.3)."""

    def matches(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        size = min(int.from_bytes(head[:4]), len(head))
        listed = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
        return any(brand in brands for brand in listed)

    return matches


def _iso_media(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _quicktime(head: bytes) -> bool:
    return _brand(b"qt  ")(head) or head[4:8] in (b"moov", b"mdat", b"wide")


def _ebml(doctype: bytes) -> Matcher:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and doctype in head[:64]


def _pdf(head: bytes) -> bool:
    # ISO 32000-1 annex H.3.4.1: readers accept the header anywhere in the first 1,024 bytes.
    # A text about PDF holds it too.
    return head.startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and not _text(head))


def _transport_stream(head: bytes) -> bool:
    return len(head) > 376 and head[0] == head[188] == head[376] == 0x47


def _zip_holding(*names: bytes) -> Matcher:
    return lambda head: (
        head.startswith(b"PK\x03\x04")
        and any(head[30 : 30 + len(name)] == name or name in head for name in names)
    )


def _zip_of(media_type: bytes) -> Matcher:
    """ODF and EPUB store their media type as the first, uncompressed entry."""
    return lambda head: head[30:38] == b"mimetype" and head[38:].startswith(media_type)


def _mp3(head: bytes) -> bool:
    return head.startswith(b"ID3") or (
        len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] & 0xF0 != 0xF0
    )


_MARKUP = re.compile(rb"<(!doctype html|html|head|body|script|iframe|svg|!--)", re.IGNORECASE)


def _html(head: bytes) -> bool:
    return bool(_MARKUP.match(_without_bom(head).lstrip()[:64]))


def _svg(head: bytes) -> bool:
    text = _without_bom(head).lstrip()
    return text.startswith((b"<?xml", b"<svg", b"<!DOCTYPE svg", b"<!--")) and b"<svg" in text


def _xml(head: bytes) -> bool:
    return _without_bom(head).lstrip().startswith(b"<?xml")


def _without_bom(head: bytes) -> bytes:
    return head.removeprefix(codecs.BOM_UTF8)


def _text(head: bytes) -> bool:
    """UTF-8, or UTF-16 with its mark, without the control characters that no text has."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        # The last character may be cut off: an incremental decoder forgives that.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return len(head) == len(head.translate(None, _CONTROLS))


_CONTROLS = bytes({*range(0x20)} - {*b"\t\n\v\f\r\x1b"})


TEXT = FileType(
    "text",
    "text/plain",
    (".txt", ".text", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".log",
     ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".srt", ".vtt", ".tex", ".rst", ".ics",
     ".vcf", ".eml", ".geojson", ".gpx", ".sql"),
    JobType.ANY,
    _text,
    ("text/csv", "text/markdown", "text/tab-separated-values", "text/vtt", "text/calendar",
     "text/vcard", "text/x-log", "text/yaml", "application/json", "application/x-ndjson",
     "application/yaml", "application/x-yaml", "application/toml", "application/x-subrip",
     "application/geo+json", "application/sql", "message/rfc822"),
)  # fmt: skip

# In the order in which they are tried: the first that matches is the type.
FILE_TYPES: tuple[FileType, ...] = (
    FileType("JPEG", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"), JobType.IMAGE,
             _starts(b"\xff\xd8\xff"), ("image/jpg", "image/pjpeg")),
    FileType("PNG", "image/png", (".png", ".apng"), JobType.IMAGE,
             _starts(b"\x89PNG\r\n\x1a\n"), ("image/apng", "image/x-png")),
    FileType("WebP", "image/webp", (".webp",), JobType.IMAGE, _riff(b"WEBP")),
    FileType("GIF", "image/gif", (".gif",), JobType.IMAGE, _starts(b"GIF87a", b"GIF89a")),
    FileType("TIFF", "image/tiff", (".tif", ".tiff"), JobType.IMAGE,
             _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ("image/tiff-fx",)),
    FileType("BMP", "image/bmp", (".bmp", ".dib"), JobType.IMAGE,
             lambda head: head[:2] == b"BM" and head[6:10] == b"\0\0\0\0",
             ("image/x-bmp", "image/x-ms-bmp")),
    FileType("AVIF", "image/avif", (".avif", ".avifs"), JobType.IMAGE, _brand(b"avif", b"avis"),
             ("image/avif-sequence",)),
    FileType("HEIC", "image/heic", (".heic", ".heif", ".hif"), JobType.IMAGE,
             _brand(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"),
             ("image/heif", "image/heic-sequence", "image/heif-sequence")),
    FileType("JPEG XL", "image/jxl", (".jxl",), JobType.ANY,
             _starts(b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")),
    FileType("PDF", "application/pdf", (".pdf",), JobType.PDF, _pdf, ("application/x-pdf",)),
    FileType("M4A", "audio/mp4", (".m4a", ".m4b"), JobType.ANY, _brand(b"M4A ", b"M4B "),
             ("audio/x-m4a", "audio/m4a")),
    FileType("QuickTime", "video/quicktime", (".mov", ".qt"), JobType.VIDEO,
             _binary(_quicktime)),
    FileType("MP4", "video/mp4", (".mp4", ".m4v", ".3gp", ".3g2", ".mov"), JobType.VIDEO,
             _binary(_iso_media), ("video/x-m4v", "video/3gpp", "video/3gpp2", "video/quicktime")),
    FileType("WebM", "video/webm", (".webm",), JobType.VIDEO, _ebml(b"webm"), ("audio/webm",)),
    FileType("Matroska", "video/x-matroska", (".mkv", ".mk3d"), JobType.VIDEO,
             _ebml(b"matroska"), ("video/matroska",)),
    FileType("AVI", "video/x-msvideo", (".avi",), JobType.VIDEO, _riff(b"AVI "),
             ("video/avi", "video/msvideo", "video/vnd.avi")),
    FileType("MPEG-TS", "video/mp2t", (".ts", ".mts", ".m2ts"), JobType.VIDEO,
             _binary(_transport_stream),
             ("video/mpeg", "video/vnd.dlna.mpeg-tts")),
    FileType("MPEG", "video/mpeg", (".mpg", ".mpeg", ".vob"), JobType.VIDEO,
             _starts(b"\0\0\x01\xba", b"\0\0\x01\xb3"), ("video/mpg",)),
    FileType("FLV", "video/x-flv", (".flv",), JobType.VIDEO, _starts(b"FLV\x01")),
    FileType("WAV", "audio/wav", (".wav",), JobType.ANY, _riff(b"WAVE"),
             ("audio/x-wav", "audio/vnd.wave", "audio/wave")),
    FileType("FLAC", "audio/flac", (".flac",), JobType.ANY, _starts(b"fLaC"), ("audio/x-flac",)),
    FileType("Ogg", "audio/ogg", (".ogg", ".oga", ".opus", ".ogv"), JobType.ANY, _starts(b"OggS"),
             ("application/ogg", "video/ogg", "audio/opus", "audio/x-opus+ogg")),
    FileType("EPUB", "application/epub+zip", (".epub",), JobType.ANY,
             _zip_of(b"application/epub+zip")),
    FileType("OpenDocument", "application/vnd.oasis.opendocument",
             (".odt", ".ods", ".odp", ".odg", ".ott", ".ots", ".otp"), JobType.ANY,
             _zip_of(b"application/vnd.oasis.opendocument"),
             ("application/vnd.oasis.opendocument.text",
              "application/vnd.oasis.opendocument.spreadsheet",
              "application/vnd.oasis.opendocument.presentation",
              "application/vnd.oasis.opendocument.graphics")),
    FileType("Office Open XML", "application/vnd.openxmlformats-officedocument",
             (".docx", ".xlsx", ".pptx"), JobType.ANY,
             _zip_holding(b"[Content_Types].xml", b"_rels/.rels", b"docProps/"),
             ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",
              "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
              "application/vnd.openxmlformats-officedocument.presentationml.presentation")),
    FileType("program (Java)", "application/java-archive", (".jar", ".war", ".apk"), JobType.ANY,
             _zip_holding(b"META-INF/MANIFEST.MF", b"AndroidManifest.xml"), dangerous=True),
    FileType("ZIP", "application/zip",
             (".zip", ".cbz", ".kmz", ".3mf", ".docx", ".xlsx", ".pptx"), JobType.ANY,
             _starts(b"PK\x03\x04", b"PK\x05\x06"),
             ("application/x-zip-compressed", "application/x-zip",
              "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
              "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
              "application/vnd.openxmlformats-officedocument.presentationml.presentation")),
    FileType("gzip", "application/gzip", (".gz", ".tgz", ".svgz"), JobType.ANY,
             _starts(b"\x1f\x8b\x08"), ("application/x-gzip", "application/x-tgz")),
    FileType("7-Zip", "application/x-7z-compressed", (".7z",), JobType.ANY,
             _starts(b"7z\xbc\xaf\x27\x1c")),
    FileType("xz", "application/x-xz", (".xz", ".txz"), JobType.ANY, _starts(b"\xfd7zXZ\0")),
    FileType("Zstandard", "application/zstd", (".zst",), JobType.ANY, _starts(b"\x28\xb5\x2f\xfd")),
    FileType("bzip2", "application/x-bzip2", (".bz2", ".tbz2"), JobType.ANY,
             _binary(_starts(b"BZh"))),
    FileType("RAR", "application/vnd.rar", (".rar", ".cbr"), JobType.ANY, _starts(b"Rar!\x1a\x07"),
             ("application/x-rar-compressed", "application/x-rar")),
    FileType("tar", "application/x-tar", (".tar",), JobType.ANY,
             lambda head: head[257:262] == b"ustar"),
    FileType("RTF", "application/rtf", (".rtf",), JobType.ANY, _starts(b"{\\rtf"),
             ("text/rtf",)),
    FileType("Office (97–2003)", "application/x-ole-storage", (".doc", ".xls", ".ppt", ".msg"),
             JobType.ANY, _starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
             ("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
              "application/vnd.ms-outlook")),
    FileType("MP3", "audio/mpeg", (".mp3",), JobType.ANY, _binary(_mp3),
             ("audio/mp3", "audio/mpeg3")),
    FileType("program (Windows)", "application/vnd.microsoft.portable-executable",
             (".exe", ".dll", ".scr", ".sys", ".com"), JobType.ANY, _binary(_starts(b"MZ")),
             ("application/x-msdownload", "application/x-dosexec"), dangerous=True),
    FileType("program (Linux)", "application/x-executable", ("", ".so", ".elf"),
             JobType.ANY, _starts(b"\x7fELF"),
             ("application/x-sharedlib", "application/x-elf"), dangerous=True),
    FileType("program (macOS)", "application/x-mach-binary", ("", ".dylib", ".bundle", ".class"),
             JobType.ANY,
             _starts(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe",
                     b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"), dangerous=True),
    FileType("script", "text/x-script", ("",),
             JobType.ANY, lambda head: _without_bom(head).startswith((b"#!", b"<?php")),
             ("text/x-shellscript", "application/x-sh", "text/x-python"), dangerous=True),
    FileType("SVG", "image/svg+xml", (".svg",), JobType.ANY, _svg, dangerous=True),
    FileType("HTML", "text/html", (".html", ".htm", ".xhtml"), JobType.ANY, _html,
             ("application/xhtml+xml",), dangerous=True),
    FileType("XML", "application/xml", (".xml", ".kml", ".gpx", ".xmp", ".plist"), JobType.ANY,
             _xml, ("text/xml", "application/gpx+xml", "application/rss+xml")),
    TEXT,
)  # fmt: skip

UNKNOWN = FileType(
    "file of no known kind", "application/octet-stream", (), JobType.ANY, lambda head: True,
    dangerous=True,
)  # fmt: skip

_BY_MEDIA_TYPE = {
    media_type: file_type
    for file_type in reversed(FILE_TYPES)
    for media_type in (file_type.content_type, *file_type.aliases)
}
_KNOWN_EXTENSIONS = {ending for file_type in FILE_TYPES for ending in file_type.extensions}


def recognise(head: bytes) -> FileType:
    """The type of a file that begins with `head` (at least SNIFF_BYTES, or the whole file)."""
    for kind in FILE_TYPES:  # for each upload: a generator would cost as much as the matching
        if kind.matches(head):
            return kind
    return UNKNOWN


def is_allowed(file_type: FileType, allowed: Sequence[str]) -> bool:
    """`allowed` holds media types and families such as `image/*`."""
    if "*/*" in allowed or file_type.content_type in allowed:
        return True
    family = file_type.content_type.partition("/")[0] + "/*"
    return family in allowed and not file_type.dangerous


def extension_agrees(file_type: FileType, extension: str) -> bool:
    """Whether a name that ends in `extension` may hold such a file. None at all may.

    For text and unknown content any extension will do that no recognised type claims.
    """
    if extension in file_type.extensions or not extension:
        return True
    return file_type in (TEXT, UNKNOWN) and extension not in _KNOWN_EXTENSIONS


def declaration_agrees(file_type: FileType, declared: str | None) -> bool:
    """Whether a client that declares the media type `declared` may mean such a file.

    No declaration, `application/octet-stream` and curl's default say nothing and contradict
    nothing. A declared type that the table does not know agrees with unknown content and text.
    """
    media_type = (declared or "").partition(";")[0].strip().lower()
    if media_type in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        return True
    if media_type == file_type.content_type or media_type in file_type.aliases:
        return True
    if file_type is TEXT and media_type.startswith("text/"):
        return media_type not in _BY_MEDIA_TYPE
    return file_type in (TEXT, UNKNOWN) and media_type not in _BY_MEDIA_TYPE


def declared_type(media_type: str | None, extension: str) -> FileType | None:
    """The type that a request announces before its body, where it announces one we know."""
    essence = (media_type or "").partition(";")[0].strip().lower()
    if essence in _BY_MEDIA_TYPE:
        return _BY_MEDIA_TYPE[essence]
    claims = [kind for kind in FILE_TYPES if extension and extension in kind.extensions]
    return claims[0] if claims else None


def labels(allowed: Sequence[str]) -> list[str]:
    """The kinds that are taken, for people."""
    return [kind.label for kind in FILE_TYPES if is_allowed(kind, allowed)]


def accept_attribute(allowed: Sequence[str]) -> str:
    """For a file input's `accept`: empty (anything) where `*/*` is allowed."""
    if "*/*" in allowed:
        return ""
    kinds = [kind for kind in FILE_TYPES if is_allowed(kind, allowed)]
    return ",".join(sorted({e for kind in kinds for e in kind.extensions if e}))
