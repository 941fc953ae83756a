from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import DEFAULT_TYPES
from appliance.intake.filetypes import (
    FILE_TYPES,
    SNIFF_BYTES,
    TEXT,
    UNKNOWN,
    accept_attribute,
    declaration_agrees,
    declared_type,
    extension_agrees,
    is_allowed,
    labels,
    recognise,
)
from appliance.jobs import JobType
from appliance.setting_values import parse_media_types
from tests import media

DEFAULT = parse_media_types(DEFAULT_TYPES)
ANYTHING = ("*/*",)

SAMPLES = [
    ("JPEG", media.jpeg(32, 24)),
    ("PNG", media.png(32, 24)),
    ("WebP", media.webp(32, 24)),
    ("GIF", media.gif(32, 24)),
    ("TIFF", media.tiff(32, 24)),
    ("BMP", media.bmp(32, 24)),
    ("AVIF", media.avif(32, 24)),
    ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "),
    ("JPEG XL", b"\xff\x0a\xfa\x1f\x41\x91"),
    ("HEIC", media.heic(32, 24)),
    ("PDF", media.pdf(1)),
    ("PDF", b"junk\xff before it\n" + media.pdf(1)),
    ("MP4", media.mp4(1, 64, 48)),
    ("MP4", media.audio_only_mp4()),
    ("QuickTime", media.video(1, 64, 48, container="mov")),
    ("Matroska", media.video(1, 64, 48, container="matroska")),
    ("AVI", media.video(1, 64, 48, container="avi", audio_codec="mp3")),
    ("MPEG-TS", media.video(1, 64, 48, container="mpegts")),
    ("FLV", media.video(1, 64, 48, container="flv", audio=False)),
    ("ZIP", b"PK\x05\x06" + bytes(18)),
    ("gzip", b"\x1f\x8b\x08" + bytes(20)),
    ("bzip2", b"BZh91AY&SY\x12\xff\x00"),
    ("tar", bytes(257) + b"ustar\x0000"),
    ("MP3", b"ID3\x04\x00" + bytes(20)),
    ("MP3", b"\xff\xfb\x90\x64" + bytes(20)),
    ("text", b"a"),
    ("text", "Größe, 日本\r\n\t🏝".encode()),
    ("text", b"\xef\xbb\xbfwith a mark"),
    ("text", "UTF-16".encode("utf-16")),
    ("text", b"\x1b[31mred\x1b[0m\n"),
    ("XML", b"<?xml version='1.0'?><gpx/>"),
    ("SVG", b"\n<!-- a --><svg xmlns='http://www.w3.org/2000/svg'>"),
    ("SVG", b"<?xml version='1.0'?>\n<svg/>"),
    ("HTML", b"\xef\xbb\xbf  <!DOCTYPE HTML><p>"),
    ("HTML", b"<script>alert(1)</script>"),
    ("script", b"#!/bin/sh\n"),
    ("script", b"<?php system('id');"),
    ("program (Windows)", b"MZ\x90\0\x03\0"),
    ("program (Linux)", b"\x7fELF\x02\x01"),
    ("program (macOS)", b"\xcf\xfa\xed\xfe\x07\0"),
    ("program (Java)", b"PK\x03\x04" + bytes(26) + b"META-INF/MANIFEST.MF"),
    ("file of no known kind", b"a\0b"),
    ("file of no known kind", b"latin-1 caf\xe9 and more"),
    ("file of no known kind", b"\x80\x81"),
]


@pytest.mark.parametrize(("label", "data"), SAMPLES, ids=[label for label, _ in SAMPLES])
def test_files_are_known_by_their_beginning(label: str, data: bytes) -> None:
    assert recognise(data[:SNIFF_BYTES]).label == label


@pytest.mark.parametrize(
    "words",
    [
        "The free encyclopedia", "The wide world", "MZ Wallace", "BZhang wrote", "ID3 tags",
        "A header is %PDF-1.7", "G" * 400, "moovmoov", "a skip", "to free",
    ],
)  # fmt: skip
def test_words_that_look_like_signatures_are_words(words: str) -> None:
    assert recognise(words.encode()) is TEXT


@given(st.binary(max_size=SNIFF_BYTES))
def test_noise_is_some_type_and_never_an_error(head: bytes) -> None:
    assert recognise(head) in (*FILE_TYPES, UNKNOWN)


@given(st.sampled_from(SAMPLES), st.binary(max_size=64), st.integers(0, 600))
def test_damaged_files_are_some_type_and_never_an_error(
    sample: tuple[str, bytes], noise: bytes, at: int
) -> None:
    head = sample[1][:SNIFF_BYTES]
    assert recognise(head[:at] + noise + head[at:]) in (*FILE_TYPES, UNKNOWN)
    assert recognise(head[:at]) in (*FILE_TYPES, UNKNOWN)


@given(st.text(min_size=1, max_size=2 * SNIFF_BYTES), st.integers(0, 3))
def test_text_cut_within_a_character_is_still_text(text: str, cut: int) -> None:
    data = text.encode("utf-8", "ignore") + "é日🏝".encode()
    whole = recognise(data)
    if whole is TEXT:
        assert recognise(data[: len(data) - cut]) is TEXT


# --- what is taken -----------------------------------------------------------------------


def test_what_runs_is_taken_only_where_everything_is() -> None:
    dangerous = [kind for kind in (*FILE_TYPES, UNKNOWN) if kind.dangerous]
    assert {"HTML", "SVG", "script", "program (Windows)"} <= {kind.label for kind in dangerous}
    for kind in (*FILE_TYPES, UNKNOWN):
        assert is_allowed(kind, DEFAULT) != kind.dangerous, kind.label
        assert is_allowed(kind, ANYTHING)
        assert is_allowed(kind, (kind.content_type,))
        assert not is_allowed(kind, ("font/*",))


def test_a_family_takes_its_own() -> None:
    assert labels(("image/*",)) == [
        kind.label
        for kind in FILE_TYPES
        if kind.job_type is JobType.IMAGE or kind.label == "JPEG XL"
    ]
    assert labels(("image/png", "video/mp4")) == ["PNG", "MP4"]
    assert accept_attribute(("image/png",)) == ".apng,.png"
    assert accept_attribute(ANYTHING) == ""


# --- what may contradict -----------------------------------------------------------------


@pytest.mark.parametrize("kind", FILE_TYPES, ids=lambda kind: kind.label)
def test_a_type_agrees_with_itself(kind: object) -> None:
    assert kind in FILE_TYPES
    for extension in kind.extensions:  # type: ignore[attr-defined]
        assert extension_agrees(kind, extension)  # type: ignore[arg-type]
    for media_type in (kind.content_type, *kind.aliases):  # type: ignore[attr-defined]
        assert declaration_agrees(kind, media_type)  # type: ignore[arg-type]
        assert declaration_agrees(kind, f" {media_type.upper()} ; charset=x")  # type: ignore[arg-type]
        assert declared_type(media_type, "") is not None


@given(st.sampled_from((*FILE_TYPES, UNKNOWN)), st.text(max_size=40))
def test_any_declaration_is_judged_without_an_error(kind: object, declared: str) -> None:
    assert declaration_agrees(kind, declared) in (True, False)  # type: ignore[arg-type]
    declared_type(declared, "")


def test_who_says_nothing_contradicts_nothing() -> None:
    for kind in (*FILE_TYPES, UNKNOWN):
        assert extension_agrees(kind, "")
        for declared in (None, "", "application/octet-stream", "application/x-www-form-urlencoded"):
            assert declaration_agrees(kind, declared)


def test_text_goes_by_many_names_but_not_by_others() -> None:
    for extension in (".txt", ".csv", ".weird", ".conf"):
        assert extension_agrees(TEXT, extension)
    for extension in (".jpg", ".pdf", ".exe", ".html", ".svg", ".zip"):
        assert not extension_agrees(TEXT, extension)
    for declared in ("text/plain; charset=latin1", "text/x-weird", "application/x-unheard-of"):
        assert declaration_agrees(TEXT, declared)
    for declared in ("image/jpeg", "text/html", "application/pdf", "image/svg+xml"):
        assert not declaration_agrees(TEXT, declared)


def test_a_type_announced_by_name_or_declaration_is_known_before_the_body() -> None:
    def announced(media_type: str | None, extension: str) -> str | None:
        kind = declared_type(media_type, extension)
        return None if kind is None else kind.label

    assert announced("text/html", "") == "HTML"
    assert announced(None, ".exe") == "program (Windows)"
    assert announced("application/octet-stream", ".svg") == "SVG"
    assert announced(None, "") is None
    assert announced("application/x-unheard-of", ".weird") is None
