"""What strangers send comes back as what it is, runs nowhere, and names nothing but itself
(docs/security.md, chapters 1 and 5)."""

from __future__ import annotations

import base64
import io
import json
import struct
import unicodedata
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from appliance.intake import filenames
from appliance.intake.filetypes import FILE_TYPES
from appliance.web.files import _SHOWN_INLINE
from tests import media
from tests.conftest import Serve, Served
from tests.unit.test_active_content import archive, ole
from tests.unit.test_pdf_contents import dictionary, made, name, with_named_script
from tests.web.pages import page
from tests.web.wire import exchange, field_part, file_part, form, part, post_form, upload

SCRIPT = b"<html><body><script>alert(document.domain)</script>"
PHP = b"<?php system($_GET['c']); ?>"


def jpeg_with_comment(text: bytes) -> bytes:
    jpeg = media.jpeg(64, 48)
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[2:]


# --- what a browser makes of a file ---------------------------------------------------------

RUNNING = {
    "page.html": SCRIPT,
    "page.htm": b"\xef\xbb\xbf  <!DOCTYPE html>" + SCRIPT,
    "page.xhtml": b"<!doctype html>" + SCRIPT,
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "drawing2.svg": b"<?xml version='1.0'?><svg><script>alert(1)</script></svg>",
    "sheet.xml": b"<?xml version='1.0'?><?xml-stylesheet href='x.xsl'?><a/>",
    "tool": b"#!/bin/sh\nrm -rf /\n",
    "shell": PHP,
    "program.exe": b"MZ" + bytes(200),
    "letter.rtf": rb"{\rtf1 x}",
    "noise.bin": bytes(range(256)),
    "office.docx": archive("word/document.xml"),
}
POLYGLOTS = {
    "picture-and-script.gif": (b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)//", "image/gif"),
    "picture-and-page.gif": (b"GIF89a" + SCRIPT, "image/gif"),
    "document-and-page.pdf": (b"%PDF-1.4\n" + SCRIPT, "application/pdf"),
    "page-in-a-comment.jpg": (jpeg_with_comment(SCRIPT), "image/jpeg"),
    "page-behind.jpg": (media.jpeg(64, 48) + SCRIPT, "image/jpeg"),
    "page-within.txt": (b"words\n" + SCRIPT, "text/plain"),
    "archive-behind.png": (media.png(64, 48) + archive("a.html"), "image/png"),
}


async def test_what_runs_is_never_shown_by_a_browser(serve: Serve) -> None:
    """Where every type is taken, too, and whatever its name and its declaration are."""
    served = await serve(allowed_types="*/*")
    for filename, data in RUNNING.items():
        job = await upload(served, data, filename)
        async with served.admin.get(f"/jobs/{job['jobId']}/files/original") as response:
            assert response.content_type == job["contentType"]
            assert response.content_type not in _SHOWN_INLINE, filename
            assert response.headers["Content-Disposition"].startswith("attachment;"), filename
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            policy = response.headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "sandbox"} <= set(policy), filename
            assert await response.read() == data


async def test_polyglots_are_what_their_beginning_says(serve: Serve) -> None:
    """With `nosniff` a browser shows them as that, in a document that runs no script."""
    served = await serve()
    for filename, (data, content_type) in POLYGLOTS.items():
        job = await upload(served, data, filename)
        async with served.admin.get(f"/jobs/{job['jobId']}/files/original") as response:
            assert response.content_type == content_type, filename
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            policy = response.headers["Content-Security-Policy"]
            assert "script-src 'self'" in policy if content_type.endswith("pdf") else (
                "script" not in policy and "sandbox" in policy
            )  # fmt: skip
        async with served.admin.get(f"/jobs/{job['jobId']}/files/original?download=1") as response:
            assert response.headers["Content-Disposition"].startswith("attachment;")
    names = {".gif": ".html", ".jpg": ".svg", ".txt": ".html"}
    for filename, (data, _) in POLYGLOTS.items():
        stem, dot, ending = filename.rpartition(".")
        if dot + ending in names:
            async with served.admin.post(
                "/upload", params={"filename": stem + names[dot + ending]}, data=data
            ) as response:
                assert response.status == 415, filename


def test_nothing_that_runs_is_on_the_list_of_what_is_shown() -> None:
    shown = [kind for kind in FILE_TYPES if kind.content_type in _SHOWN_INLINE]
    assert shown
    assert not [kind for kind in shown if kind.dangerous]
    for ending in ("html", "svg+xml", "xml", "javascript", "zip", "css"):
        assert not [one for one in _SHOWN_INLINE if one.endswith(ending)]


async def test_pictures_are_drawn_anew(serve: Serve) -> None:
    """Nothing of what a picture carried beside its pixels is in a result."""
    served = await serve(workers=True, workers_pdf="0", workers_video="0", workers_any="0")
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = PHP.decode()  # description, artist
    text = io.BytesIO()
    media.photo(64, 48).save(text, "JPEG", exif=exif, comment=PHP, quality=90)
    for data in (
        text.getvalue() + PHP + SCRIPT,
        jpeg_with_comment(SCRIPT + PHP),
        media.png(64, 48) + archive("a.php") + PHP,
        media.webp(64, 48) + PHP,
    ):
        assert b"<?php" in data or b"<script" in data
        done = await served.finished((await upload(served, data, "a"))["jobId"])
        assert done["status"] == "COMPLETED"
        assert done["files"]
        for file in done["files"]:
            async with served.admin.get(file["url"]) as response:
                result = await response.read()
            assert result.startswith(b"RIFF")
            assert len(result) == int.from_bytes(result[4:8], "little") + 8, "bytes behind it"
            for trace in (b"<?php", b"script", b"system(", b"PK\x03\x04"):
                assert trace not in result


async def test_active_content_is_told_on_the_job_its_page_and_its_card(serve: Serve) -> None:
    served = await serve(workers=True, workers_image="0", workers_video="0")

    def everything(writer: Any) -> None:
        with_named_script(writer)
        writer.root_object[name("OpenAction")] = dictionary(S=name("Launch"))
        writer.root_object[name("AcroForm")] = dictionary(XFA=name("x"))
        writer.add_attachment("evil.exe", b"MZ")

    for filename, data, told, said in (
        (
            "a.pdf", made(everything), ["attachments", "javascript", "launch", "xfa"],
            "holds scripts, attachments, program starts, a dynamic form",
        ),
        ("b.docx", archive("word/vbaProject.bin"), ["macros"], "holds macros"),
        ("c.doc", ole("Root Entry", "Macros"), ["macros"], "holds macros"),
        ("d.docx", archive("word/document.xml"), [], ""),
    ):  # fmt: skip
        done = await served.finished((await upload(served, data, filename))["jobId"])
        assert (done["status"], done["result"]["activeContent"]) == ("COMPLETED", told), filename
        card = await page(served, "/")
        story = (await page(served, f"/dashboard/dead-letters/{done['jobId']}")).words()
        if said:
            assert said in card.words()
            assert f"It {said}. None of it was run here" in story
        else:
            assert "Active content" not in story


# --- names ---------------------------------------------------------------------------------

HOSTILE = {
    "a path": "../../../etc/cron.d/evil.txt",
    "a path of Windows": "..\\..\\Windows\\win.ini.txt",
    "an absolute path": "/etc/passwd",
    "dots": "..",
    "a hidden file": ".htaccess",
    "a header": "a.txt\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>",
    "a line": "a\n2026-01-01 [info] signed_in owner=admin.txt",
    "an end of text": "shell.php\0.txt",
    "a terminal's orders": "a\x1b]0;owned\x07\x1b[2J.txt",
    "another direction": "photo\u202etxt.exe.txt",
    "isolates": "a\u2066b\u2069.txt",
    "no width": "a\u200bb\ufeff.txt",
    "a quote and a name": 'a"; filename="evil.exe',
    "an encoded name": "a.txt; filename*=UTF-8''evil.exe",
    "percent": "%2e%2e%2f%00%0d%0a.txt",
    "a device of Windows": "CON.txt",
    "a stream of Windows": "a.txt::$DATA.txt",
    "markup": "<img src=x onerror=alert(1)>.txt",
    "a template": "{{7*7}}${7*7}#{7*7}.txt",
    "a formula": '=HYPERLINK("http://x","y").txt',
    "an option": "--help.txt",
    "combining": "a" + "\u0301" * 50 + ".txt",
    "people": "\U0001f469\u200d\U0001f469\u200d\U0001f466 \U0001f1e9\U0001f1ea.txt",
    "half a character": "a\ud800.txt",
    "words": "ein Brief – 手紙 – خطاب.txt",
}
LONG = "long" * 2500 + ".txt"


async def by_query(served: Served, filename: str) -> str:
    text = filename.encode("utf-8", "surrogatepass")
    answer = await exchange(
        served, f"POST /upload?filename={quote(text, safe='')}", "Content-Length: 5", body=b"words"
    )
    return await _job(answer)


async def by_address(served: Served, filename: str) -> str:
    text = filename.encode("utf-8", "surrogatepass")
    answer = await exchange(
        served, f"PUT /upload/{quote(text, safe='')}", "Content-Length: 5", body=b"words"
    )
    return await _job(answer)


async def by_form(served: Served, filename: str) -> str:
    text = filename.encode("utf-8", "surrogatepass")
    for character, escaped in ((b'"', b"%22"), (b"\r", b"%0D"), (b"\n", b"%0A")):  # as browsers do
        text = text.replace(character, escaped)
    return await _job(await post_form(served, form(part(
        b'name="file"; filename="' + text + b'"', b"words"
    ))))  # fmt: skip


async def by_tus(served: Served, filename: str) -> str:
    text = base64.b64encode(filename.encode("utf-8", "surrogatepass")).decode()
    answer = await exchange(
        served, "POST /files", "Tus-Resumable: 1.0.0", "Upload-Length: 5", "Content-Length: 5",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Metadata: filename {text},evil {text},filetype {text}", body=b"words",
    )  # fmt: skip
    if answer.status == 400 and b"metadata" in answer.body.lower():
        return ""
    assert answer.status in (201, 415, 400), answer.body
    return str(answer.headers.get("Upload-Job-Id", ""))


async def by_ietf(served: Served, filename: str) -> str:
    text = quote(filename.encode("utf-8", "surrogatepass"), safe="")
    answer = await exchange(
        served, f"POST /files?filename={text}", "Upload-Complete: ?1", "Content-Length: 5",
        body=b"words",
    )  # fmt: skip
    return await _job(answer)


async def _job(answer: Any) -> str:
    """The id of the job; none where the name was refused, in words."""
    if answer.status >= 400:
        assert answer.status in (400, 404, 415), answer  # 404: an address that leads elsewhere
        assert answer.json()["code"] in (
            "bad_request", "not_found", "file_type_refused", "file_type_mismatch"
        ), answer  # fmt: skip
        return ""
    return str(answer.json()["jobId"])


@pytest.mark.parametrize("way", [by_query, by_address, by_form, by_tus, by_ietf])
async def test_a_hostile_name_stays_a_name(serve: Serve, way: Any, tmp_path: Path) -> None:
    """By every way in, and out again in JSON, in headers, on pages and on the disk."""
    served = await serve()
    taken = 0
    for what, filename in HOSTILE.items():
        job_id = await way(served, filename)
        if not job_id:
            continue
        taken += 1
        job = await served.json("GET", f"/status/{job_id}")
        kept = job["filename"]
        assert kept == filenames.clean(kept), what
        for character in ("/", "\\", "\0", "\r", "\n", "\x1b", "\u202e", "\u2066"):
            assert character not in kept, what
        assert kept.strip(". ") == kept != "", what
        async with served.admin.get(f"/jobs/{job_id}/files/original?download=1") as response:
            assert await response.read() == b"words"
            (field,) = response.headers.getall("Content-Disposition")
            assert "Set-Cookie" not in response.headers
        assert field.isascii(), what
        assert field.isprintable(), what
        message = Message()
        message["Content-Disposition"] = field
        assert [key for key, _ in message.get_params(header="Content-Disposition")] == [  # type: ignore[misc,union-attr]
            "attachment", "filename", "filename"  # the second is filename*, decoded
        ], (what, field)  # fmt: skip
        assert field.endswith(f"filename*=UTF-8''{quote(kept, safe='')}"), what
        plain = field.split('"')[1]
        assert "%" not in plain, what
        assert field.count('"') == 2, what
        for path in ("/", f"/dashboard/dead-letters/{job_id}"):
            shown = await page(served, path)
            assert kept in {attributes.get("title") for _, attributes in shown.elements}, what
            assert not [tag for tag, attributes in shown.elements if "onerror" in attributes]
    assert taken >= len(HOSTILE) * 0.6, "most of them are taken, by their harmless part"
    root = served.data_dir
    outside = [path for path in tmp_path.rglob("*") if root not in (path, *path.parents)]
    assert outside == []
    for path in root.rglob("*"):
        assert not [one for one in path.name if unicodedata.category(one) == "Cc"]


@pytest.mark.parametrize("way", [by_query, by_tus, by_ietf])
async def test_a_name_of_ten_thousand_letters(serve: Serve, way: Any) -> None:
    served = await serve()
    job_id = await way(served, LONG)
    if job_id:  # else it was too long for a head, and was refused
        job = await served.json("GET", f"/status/{job_id}")
        assert len(job["filename"].encode()) <= filenames.MAX_BYTES
        assert job["filename"].endswith(".txt")


async def test_what_goes_along_with_a_file_is_only_text(serve: Serve) -> None:
    """Metadata and keys of requests come back as JSON, and as nothing else."""
    served = await serve()
    evil = 'x\r\nSet-Cookie: a=b\r\n\r\n</script><script>alert(1)</script>"'
    body = form(field_part("metadata", json.dumps({evil: evil})), file_part("a.txt", b"words"))
    answer = await post_form(served, body)
    assert answer.status == 202
    assert answer.json()["metadata"] == {evil: evil}
    assert "Set-Cookie" not in answer.headers
    job_id = answer.json()["jobId"]
    for path in ("/", f"/dashboard/dead-letters/{job_id}", f"/status/{job_id}", f"/jobs/{job_id}"):
        async with served.admin.get(path) as response:
            assert "Set-Cookie" not in response.headers
            text = await response.text()
            assert "<script>alert(1)" not in text or response.content_type == "application/json"
    for key in ("a\tb", '"a\\x"', "a b", '"unended', "ä", "a" * 256, ""):
        answer = await exchange(
            served, "POST /upload?filename=a.txt", f"Idempotency-Key: {key}", "Content-Length: 5",
            body=b"words",
        )  # fmt: skip
        assert (answer.status, answer.json()["code"]) == (400, "bad_request"), key
