"""GET /jobs/{jobId}/files/{name}: originals and results, whole, in part, and safe to open."""

from __future__ import annotations

import hashlib
import io
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from PIL import Image
from yarl import URL

from appliance.ids import new_id
from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.test_status import MALFORMED
from tests.web.wire import refused, upload

PHOTO = media.jpeg(64, 48)
DIGITS = b"0123456789" * 1000


def original(job: Any) -> str:
    return f"/jobs/{job['jobId']}/files/original"


async def get(served: Served, url: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with served.admin.get(url, headers=names) as response:
        return response, await response.read()


async def test_the_original_comes_back_as_it_went_in(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, PHOTO, "cat.jpg")
    response, body = await get(served, original(job))
    assert (response.status, body) == (200, PHOTO)
    expected = {
        "Content-Type": "image/jpeg",
        "Content-Length": str(len(PHOTO)),
        "Accept-Ranges": "bytes",
        "ETag": f'"{hashlib.sha256(PHOTO).hexdigest()}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    assert {name: response.headers[name] for name in expected} == expected
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "sandbox" in policy
    assert "script-src" not in policy


async def test_results_of_a_real_job(serve: Serve) -> None:
    served = await serve(workers=True, workers_pdf="0", workers_video="0", workers_any="0")
    job = await upload(served, media.jpeg(640, 480), "Katze 🐈.jpg")
    done = await served.finished(job["jobId"])
    assert done["status"] == "COMPLETED"
    assert "thumbnail.webp" in {file["name"] for file in done["files"]}
    for file in done["files"]:
        response, body = await get(served, file["url"])
        assert response.status == 200
        assert response.content_type == file["contentType"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Katze%20%F0%9F%90%88-" + file["name"] in response.headers["Content-Disposition"]
        assert len(body) == file["sizeBytes"]
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
        with Image.open(io.BytesIO(body)) as picture:
            assert picture.size == (file["width"], file["height"])
    response, body = await get(served, done["files"][0]["url"], Range="bytes=0-3")
    assert (response.status, body) == (206, b"RIFF")


# --- ranges (RFC 9110, section 14) -----------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ranges(serve: Serve, method: str) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    for ranges, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=5000-5009", 5000, 5010),
        ("bytes=9990-", 9990, 10_000),
        ("bytes=-10", 9990, 10_000),
        ("bytes=9999-9999", 9999, 10_000),
        ("bytes=9990-99999", 9990, 10_000),
        ("bytes=1-99999999999999999999999", 1, 10_000),
    ):
        async with served.admin.request(method, url, headers={"Range": ranges}) as response:
            assert response.status == 206, ranges
            assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/10000"
            assert response.headers["Content-Length"] == str(end - start)
            assert await response.read() == (DIGITS[start:end] if method == "GET" else b"")


async def test_what_is_no_single_range_gets_the_whole_file(serve: Serve) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    for ranges in (
        "bytes=0-9,20-29", "bytes=20-29, 0-9", "lines=0-9", "bytes=9-0", "bytes=-", "bytes=a-b",
        "bytes", "", "0-9", "bytes=0-9;x", "bytes=0-" + "9" * 5000,
        "bytes=" + "0-0," * 3000 + "1-1",
    ):  # fmt: skip
        response, body = await get(served, url, Range=ranges)
        assert (response.status, body) == (200, DIGITS), ranges
        assert "Content-Range" not in response.headers
    for ranges in ("bytes=0-", "bytes=-10000", "bytes=-99999", "bytes=0-9999"):
        response, body = await get(served, url, Range=ranges)
        assert (response.status in (200, 206), body) == (True, DIGITS), ranges


async def test_ranges_beyond_the_end(serve: Serve) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    for ranges in ("bytes=10000-", "bytes=10000-10001", "bytes=99999999999999999999-", "bytes=-0"):
        async with served.admin.get(url, headers={"Range": ranges}) as response:
            await refused(response, 416, "range_not_satisfiable")
            assert response.headers["Content-Range"] == "bytes */10000"


async def test_a_range_of_an_older_version_gets_the_whole_file(serve: Serve) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    etag = f'"{hashlib.sha256(DIGITS).hexdigest()}"'
    for if_range, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Tue, 24 Nov 2026 00:00:00 GMT", 200),
    ):
        response, body = await get(served, url, Range="bytes=0-9", If_Range=if_range)
        assert response.status == status, if_range
        assert body == (DIGITS[:10] if status == 206 else DIGITS)


# --- asking again ----------------------------------------------------------------------------


async def test_an_etag_spares_the_body(serve: Serve) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    etag = f'"{hashlib.sha256(DIGITS).hexdigest()}"'
    for known, status in (
        (etag, 304),
        (f'"other", {etag}', 304),
        (f'"other",{etag}', 304),
        (f"W/{etag}", 304),
        ("*", 304),
        ('"other"', 200),
    ):
        for ranges in ({}, {"Range": "bytes=0-9999"}):
            response, body = await get(served, url, If_None_Match=known, **ranges)
            assert (response.status == 304) == (status == 304), known
            assert response.headers["ETag"] == etag
            assert body == (b"" if status == 304 else DIGITS)


async def test_head_has_the_headers_and_no_body(serve: Serve) -> None:
    served = await serve()
    url = original(await upload(served, DIGITS))
    response, _ = await get(served, url)
    async with served.admin.head(url) as head:
        assert head.status == 200
        assert await head.read() == b""
        for name in ("Content-Length", "Content-Type", "ETag", "Content-Disposition"):
            assert head.headers[name] == response.headers[name]


# --- safe to open ----------------------------------------------------------------------------


async def test_what_a_browser_shows_and_what_it_only_saves(serve: Serve) -> None:
    served = await serve(allowed_types="*/*")
    for name, data, kind in (
        ("a.jpg", PHOTO, "inline"),
        ("a.pdf", media.pdf(1), "inline"),
        ("a.txt", b"words", "inline"),
        ("a.html", b"<!doctype html><script>alert(1)</script>", "attachment"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "attachment"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "attachment"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "attachment"),
        ("a.unknown", bytes(range(256)), "attachment"),
    ):
        job = await upload(served, data, name)
        response, _ = await get(served, original(job))
        assert response.headers["Content-Disposition"].startswith(kind + ";"), name
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        response, body = await get(served, original(job) + "?download=1")
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert body == data


async def test_text_is_told_to_be_text(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, "<b>Größe</b>".encode(), "a.md")
    response, _ = await get(served, original(job))
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_hostile_names_stay_within_their_header(serve: Serve) -> None:
    served = await serve()
    for name in (
        'a"; filename="evil.exe.txt',
        "a\\.txt\\b.txt",
        "a%22%0d%0aX-Evil: 1.txt",
        "Größe 日本 🏝️.txt",
        "a;b=c'd*e.txt",
        "-rf ~.txt",
    ):
        job = await upload(served, b"words", name)
        response, _ = await get(served, original(job))
        assert "X-Evil" not in response.headers
        value = response.headers["Content-Disposition"]
        assert value.isascii()
        kind, plain, extended = value.split("; ", 2) if value.count("; ") == 2 else (
            value.split("; ", 1)[0], *value.split("; ", 1)[1].rsplit("; ", 1)
        )  # fmt: skip
        assert kind == "inline"
        assert plain.startswith('filename="')
        assert plain.endswith('"')
        assert not set('"\\%') & set(plain[10:-1])
        assert unquote(extended.removeprefix("filename*=UTF-8''")) == job["filename"]
        assert not set("\"'; \\") & set(extended.removeprefix("filename*=UTF-8''"))


# --- what is not there -----------------------------------------------------------------------


async def test_files_that_there_are_not(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job = await upload(served, by=ada.http)
    for name in (
        "thumbnail.webp",
        "a.txt",
        "..",
        "%2e%2e",
        "..%2F..%2Flock",
        "original%00",
        "ORIGINAL",
    ):
        url = URL(f"/jobs/{job['jobId']}/files/{name}", encoded=True)
        async with ada.http.get(url) as response:
            await refused(response, 404, "not_found")
    for job_id in (new_id(), *MALFORMED):
        async with ada.http.get(f"/jobs/{job_id}/files/original") as response:
            document = await refused(response, 404, "not_found")
    async with bob.http.get(original(job)) as response:
        assert await refused(response, 404, "not_found") == document
    for session in (ada.http, served.admin):
        async with session.get(original(job)) as response:
            assert await response.read() == b"words"


async def test_a_file_lost_from_the_disk_is_told_before_the_head(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    (served.data_dir / "files" / "raw" / job["jobId"] / "a.txt").unlink()
    async with served.admin.get(original(job)) as response:
        document = await refused(response, 500, "object_missing")
    assert str(served.data_dir) not in document["detail"]
