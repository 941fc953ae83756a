"""POST /upload with a raw body and PUT /upload/{filename}: files as programs send them, and what
a client may get wrong about a body."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from appliance.storage import local
from appliance.web import bodies
from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.wire import (
    Answer,
    exchange,
    files_of,
    in_pieces,
    is_refusal,
    left_nothing,
    refused,
    services_of,
    until,
    upload,
    wire,
)

PHOTO = media.jpeg(64, 48)
ELF = b"\x7fELF\x02\x01\x01" + bytes(4096 - 7)
MIB = 1024 * 1024


def digest(data: bytes, algorithm: str = "sha256") -> str:
    encoded = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    return f"{algorithm.replace('sha', 'sha-')}=:{encoded}:"


async def post(served: Served, data: bytes, name: str | None = "a.txt", **headers: str) -> Answer:
    """A raw upload with exactly these headers."""
    query = "" if name is None else "?" + str(URL.build(query={"filename": name})).lstrip("?")
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    length = f"Content-Length: {len(data)}"
    return await exchange(served, f"POST /upload{query}", length, *lines, body=data)


# --- what is taken -----------------------------------------------------------------------


async def test_a_raw_body_becomes_a_job(serve: Serve) -> None:
    served = await serve()
    answer = await post(served, PHOTO, "cat.jpg", Content_Type="image/jpeg")
    assert answer.status == 202
    job = answer.json()
    assert (job["filename"], job["type"], job["sizeBytes"]) == ("cat.jpg", "IMAGE", len(PHOTO))
    assert job["sha256"] == hashlib.sha256(PHOTO).hexdigest()
    assert files_of(served) == {f"raw/{job['jobId']}/cat.jpg"}


async def test_put_takes_the_name_from_the_address(serve: Serve) -> None:
    served = await serve()
    for address, kept in (
        ("cat.jpg", "cat.jpg"),
        ("%C3%A4%20%F0%9F%90%88.jpg", "ä 🐈.jpg"),
        ("..%2F..%2Fetc%2Fcat.jpg", "cat.jpg"),
        ("a%00b%0D%0Ac.jpg", "abc.jpg"),
        ("%E2%80%AEgpj.jpg", "gpj.jpg"),
        ("%2E%2E", "unnamed"),
    ):
        answer = await exchange(
            served, f"PUT /upload/{address}", f"Content-Length: {len(PHOTO)}", body=PHOTO
        )
        assert answer.status == 202, answer.body
        job = answer.json()
        assert job["filename"] == kept
        assert f"raw/{job['jobId']}/{kept}" in files_of(served)


async def test_names_in_the_query(serve: Serve) -> None:
    served = await serve()
    for sent, kept in (
        (None, "unnamed"),
        ("", "unnamed"),
        ("../../a.txt", "a.txt"),
        ("a" * 10_000 + ".txt", "a" * 196 + ".txt"),
        ("🏝" * 1_000 + ".txt", "🏝" * 49 + ".txt"),
        ("a&b=c?d#e.txt", "a&b=c?d#e.txt"),
    ):
        answer = await post(served, b"words", sent)
        assert answer.status == 202, answer.body
        assert answer.json()["filename"] == kept
        assert f"raw/{answer.json()['jobId']}/{kept}" in files_of(served)


async def test_options_in_the_query(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, priority="0", preset="default", metadata='{"a": 1}')
    assert (job["priority"], job["metadata"]) == (0, {"a": 1})
    for query in ({"priority": "ten"}, {"preset": "x"}, {"metadata": "[]"}):
        async with served.admin.post("/upload", params=query, data=b"words") as response:
            await refused(response, 400, "bad_request")
    assert len(files_of(served)) == 1


async def test_a_body_of_unknown_length(serve: Serve) -> None:
    served = await serve()
    body = in_pieces([PHOTO[:1], PHOTO[1:1000], PHOTO[1000:]])
    async with served.admin.post("/upload?filename=a.jpg", data=body) as response:
        assert response.status == 202
        assert (await response.json())["sha256"] == hashlib.sha256(PHOTO).hexdigest()


async def test_fifty_uploads_at_once(serve: Serve) -> None:
    served = await serve()
    bodies_sent = [bytes([65 + n % 26]) * (1 + n * 4_001) for n in range(50)]
    found = await asyncio.gather(
        *(upload(served, data, f"{n}.txt") for n, data in enumerate(bodies_sent))
    )
    assert len({job["jobId"] for job in found}) == 50
    for n, (job, data) in enumerate(zip(found, bodies_sent, strict=True)):
        assert job["sha256"] == hashlib.sha256(data).hexdigest()
        stored = served.data_dir / "files" / "raw" / job["jobId"] / f"{n}.txt"
        assert stored.read_bytes() == data
    assert len(files_of(served)) == 50
    assert len((await served.json("GET", "/jobs?limit=200"))["jobs"]) == 50


async def test_memory_does_not_grow_with_the_file(serve: Serve) -> None:
    served = await serve()
    await upload(served, PHOTO, "warm.jpg")
    before = peak_memory_bytes(reset=True)
    noise = os.urandom(MIB)
    total = hashlib.sha256(PHOTO)
    for _ in range(300):
        total.update(noise)
    body = in_pieces([PHOTO, *[noise] * 300])
    async with served.admin.post("/upload?filename=big.jpg", data=body) as response:
        assert response.status == 202
        job = await response.json()
    grown = peak_memory_bytes() - before
    assert job["sizeBytes"] == len(PHOTO) + 300 * MIB
    assert job["sha256"] == total.hexdigest()
    assert grown < 60 * MIB, f"{grown / MIB:.0f} MiB more"
    (served.data_dir / "files" / "raw" / job["jobId"] / "big.jpg").unlink()  # not kept for pytest


def peak_memory_bytes(*, reset: bool = False) -> int:
    """The most that this process, client and server both, has held; since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM to what is held
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


# --- size --------------------------------------------------------------------------------


async def test_the_size_limit_holds_before_and_while_reading(serve: Serve) -> None:
    served = await serve(max_upload_bytes="100000")
    assert (await post(served, b"a" * 100_000)).status == 202
    answer = await exchange(served, "POST /upload?filename=a.txt", "Content-Length: 100001")
    document = is_refusal(answer, 413, "file_too_large")  # and no byte of the body was sent
    assert document["maxUploadBytes"] == 100_000
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", "Transfer-Encoding: chunked")
        for _ in range(11):
            await connection.send(b"2710\r\n" + b"a" * 10_000 + b"\r\n")
        is_refusal(await connection.answer(), 413, "file_too_large")  # the body has no end yet
    assert len(files_of(served)) == 1


async def test_an_empty_body(serve: Serve) -> None:
    served = await serve()
    for headers in (["Content-Length: 0"], ["Transfer-Encoding: chunked"], []):
        body = b"0\r\n\r\n" if "chunked" in "".join(headers) else b""
        for line in ("POST /upload?filename=a.txt", "POST /upload", "PUT /upload/a.txt"):
            answer = await exchange(served, line, *headers, body=body)
            is_refusal(answer, 400, "empty_file")
    await left_nothing(served)


async def test_a_form_that_is_none(serve: Serve) -> None:
    """What `curl -d` sends when somebody meant `-F`; `--data-binary` with a name is a file."""
    served = await serve()
    form = "application/x-www-form-urlencoded"
    answer = await exchange(
        served, "POST /upload", f"Content-Type: {form}", "Content-Length: 6", body=b"file=a"
    )
    is_refusal(answer, 400, "no_file")
    await left_nothing(served)
    assert (await post(served, b"words", Content_Type=form)).status == 202


async def test_no_room_on_the_disk(serve: Serve) -> None:
    served = await serve(reserve_bytes="1000TiB")
    is_refusal(await post(served, b"words"), 507, "storage_full")
    await left_nothing(served)


async def test_a_body_that_the_disk_cannot_hold_is_refused_by_its_length(serve: Serve) -> None:
    served = await serve(max_upload_bytes="2000TiB")
    length = f"Content-Length: {1000 * 1024**4}"
    answer = await exchange(served, "POST /upload?filename=a.txt", length)
    is_refusal(answer, 507, "storage_full")
    answer = await exchange(
        served, "POST /upload", "Content-Type: multipart/form-data; boundary=b", length
    )
    is_refusal(answer, 507, "storage_full")
    await left_nothing(served)


# --- type --------------------------------------------------------------------------------


async def test_a_refused_type_is_turned_away_before_the_rest_is_sent(serve: Serve) -> None:
    served = await serve()
    for name in ("?filename=holiday.jpg", "?filename=tool", ""):
        async with wire(served) as connection:
            await connection.head(f"POST /upload{name}", f"Content-Length: {1024**3}")
            await connection.send(ELF)
            answer = await connection.answer()
        is_refusal(answer, 415, "file_type_refused")
        assert answer.headers["Connection"] == "close"
    await left_nothing(served)


CONTRADICTIONS = [
    ("a.png", PHOTO, None, "file_type_mismatch"),
    ("a.pdf", b"words", None, "file_type_mismatch"),
    ("a.txt", PHOTO, None, "file_type_mismatch"),
    ("a.mp4", media.pdf(1), None, "file_type_mismatch"),
    ("a.jpg", PHOTO, "image/png", "file_type_mismatch"),
    ("a.jpg", PHOTO, "text/plain", "file_type_mismatch"),
    ("a", PHOTO, "application/pdf", "file_type_mismatch"),
    ("a.jpg", b"GIF89a" + bytes(50), "image/jpeg", "file_type_mismatch"),
    ("a.txt", b"words", "image/jpeg", "file_type_mismatch"),
    ("a.exe", PHOTO, None, "file_type_refused"),
    ("a.jpg", b"MZ" + bytes(100), None, "file_type_refused"),
    ("a.jpg", PHOTO, "application/x-msdownload", "file_type_refused"),
    ("a.txt", b"#!/bin/sh\nreboot\n", None, "file_type_refused"),
    ("a.html", b"<!doctype html><script>alert(1)</script>", "text/html", "file_type_refused"),
    ("a.txt", b"<html><script>alert(1)</script>", "text/plain", "file_type_refused"),
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "file_type_refused"),
    ("a.jar", b"PK\x03\x04" + bytes(26) + b"META-INF/MANIFEST.MF", None, "file_type_refused"),
    ("a.bin2", bytes(range(256)), None, "file_type_refused"),
    ("a.txt", b"words\0and more", None, "file_type_refused"),
]


async def test_types_that_contradict_themselves(serve: Serve) -> None:
    served = await serve()
    for name, data, declared, code in CONTRADICTIONS:
        headers = {} if declared is None else {"Content_Type": declared}
        is_refusal(await post(served, data, name, **headers), 415, code)
        await left_nothing(served)


async def test_types_that_agree(serve: Serve) -> None:
    served = await serve()
    for name, data, declared in (
        ("a.JPEG", PHOTO, "image/jpg"),
        ("a", PHOTO, None),
        ("a.jpg", PHOTO, "application/octet-stream"),
        ("a.jpg", PHOTO, "IMAGE/JPEG; q=1"),
        ("a.mov", media.mp4(1, 64, 48), "video/quicktime"),
        ("a.srt", b"1\n00:00 --> 00:01\n", "application/x-subrip"),
        ("a.weird", b"words", "text/x-weird"),
        ("a.docx", b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", None),
    ):
        headers = {} if declared is None else {"Content_Type": declared}
        answer = await post(served, data, name, **headers)
        assert answer.status == 202, (name, answer.body)


async def test_which_types_are_taken_is_a_setting(serve: Serve) -> None:
    served = await serve(allowed_types="image/jpeg,application/x-executable")
    assert (await post(served, PHOTO, "a.jpg")).status == 202
    assert (await post(served, ELF, "tool")).status == 202
    is_refusal(await post(served, b"words"), 415, "file_type_refused")
    is_refusal(await post(served, media.png(32, 24), "a.png"), 415, "file_type_refused")


# --- Expect: 100-continue -----------------------------------------------------------------


async def test_a_refused_head_never_gets_a_go_ahead(serve: Serve) -> None:
    served = await serve(max_upload_bytes="1MiB")
    for line, headers, status, code in (
        ("PUT /upload/a.exe", ["Content-Length: 5"], 415, "file_type_refused"),
        ("PUT /upload/a", ["Content-Length: 5", "Content-Type: text/html"], 415,
         "file_type_refused"),
        ("PUT /upload/a.jpg", ["Content-Length: 1048577"], 413, "file_too_large"),
        ("PUT /upload/a.jpg", ["Content-Length: 5", "Repr-Digest: sha-256=x"], 400, "bad_request"),
        ("PUT /upload/a.jpg?priority=x", ["Content-Length: 5"], 400, "bad_request"),
        ("POST /upload", ["Content-Length: 5", "Content-Type: multipart/form-data"], 400,
         "multipart_invalid"),
    ):  # fmt: skip
        answer = await exchange(served, line, "Expect: 100-continue", *headers)
        is_refusal(answer, status, code)  # the first thing that came: there was no 100
    async with wire(served) as connection:
        length = "Content-Length: 5"
        await connection.head("PUT /upload/a.jpg", "Expect: 100-continue", length, key=None)
        is_refusal(await connection.answer(), 401, "not_signed_in")
    await left_nothing(served)


async def test_a_good_head_gets_a_go_ahead(serve: Serve) -> None:
    served = await serve()
    for expectation in ("100-continue", "100-Continue"):
        async with wire(served) as connection:
            length = f"Content-Length: {len(PHOTO)}"
            await connection.head("PUT /upload/a.jpg", f"Expect: {expectation}", length)
            assert (await connection.answer()).status == 100
            await connection.send(PHOTO)
            assert (await connection.answer()).status == 202


async def test_other_expectations_are_disregarded(serve: Serve) -> None:
    served = await serve()
    answer = await post(served, b"words", Expect="the-unexpected")
    assert answer.status == 202


# --- lengths that lie --------------------------------------------------------------------


async def test_more_bytes_than_announced_are_not_part_of_the_file(serve: Serve) -> None:
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", "Content-Length: 5")
        await connection.send(b"words")
        answer = await connection.answer()
        assert (answer.status, answer.json()["sizeBytes"]) == (202, 5)
        await connection.send(b" and more words\r\n\r\n")
        is_refusal(await connection.answer(), 400, "bad_request")  # that is no request
        assert await connection.closed() == b""
    assert len(files_of(served)) == 1


async def test_fewer_bytes_than_announced_leave_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SMALL_BYTES", 0)  # what little there is goes to a file at once
    served = await serve()
    for framing, sent in (
        ("Content-Length: 1000000", PHOTO),
        ("Transfer-Encoding: chunked", b"3e8\r\n" + PHOTO[:1000] + b"\r\n"),
        ("Transfer-Encoding: chunked", b"ffff\r\n" + PHOTO[:1000]),
    ):
        async with wire(served) as connection:
            await connection.head("PUT /upload/a.jpg", framing)
            await connection.send(sent)
            await until(lambda: incoming_bytes(served) >= 1000)
            with capture_logs() as logs:
                connection.abort()
                await left_nothing(served)
                await until(lambda: [log for log in logs if log.get("status") == 499])
        assert "request_failed" not in [log["event"] for log in logs]  # it is no fault of ours


def incoming_bytes(served: Served) -> int:
    return sum(p.stat().st_size for p in (served.data_dir / "files" / "incoming").iterdir())


async def test_a_client_that_stops_sending_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.jpg", "Content-Length: 1000000")
        await connection.send(PHOTO)
        is_refusal(await connection.answer(), 408, "request_timeout")
    await left_nothing(served)


async def test_framing_that_could_smuggle_a_request(serve: Serve) -> None:
    """RFC 9112, section 6.3: refuse, and close, so that nothing behind it is a request."""
    served = await serve()
    hidden = b"words" + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
    for headers in (
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5, 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, identity"],
        ["Content-Length: -5"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length:"],
        ["Content-Length: " + "9" * 30],
        ["Content-Length : 5"],
    ):
        async with wire(served) as connection:
            await connection.head("PUT /upload/a.txt", *headers)
            await connection.send(hidden)
            is_refusal(await connection.answer(), 400, "bad_request")
            assert await connection.closed() == b"", headers
        await left_nothing(served)


async def test_broken_chunks(serve: Serve) -> None:
    served = await serve()
    for broken in (b"zz\r\n\r\n", b"-5\r\nwords\r\n", b"5\r\nwordsXX", b"f" * 40 + b"\r\n"):
        async with wire(served) as connection:
            await connection.head("PUT /upload/a.txt", "Transfer-Encoding: chunked")
            await connection.send(b"5\r\nwords\r\n")
            await connection.send(broken)
            is_refusal(await connection.answer(), 400, "bad_request")
            assert b"202" not in await connection.closed()
        await left_nothing(served)


async def test_an_encoded_body_is_refused_and_never_inflated(serve: Serve) -> None:
    served = await serve()
    for body in (b"this is not gzip" * 100, gzip.compress(b"words" * 1000)):
        answer = await post(served, body, Content_Encoding="gzip")
        is_refusal(answer, 415, "content_encoding_refused")
    await left_nothing(served)


# --- digests -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Repr_Digest", "Content_Digest"])
async def test_a_file_is_held_to_its_digest(serve: Serve, name: str) -> None:
    served = await serve()
    right, other = digest(b"words"), digest(b"other")
    for value, code in (
        (other, "digest_mismatch"),
        (f"sha-512=:AAAA:, {other}", "digest_mismatch"),
        (f"{digest(b'words', 'sha512')}, {other};q=1", "digest_mismatch"),
        ("sha-256=:d29yZHM=:", "bad_request"),
        ("sha-256=" + hashlib.sha256(b"words").hexdigest(), "bad_request"),
        ("sha-256=:" + "A" * 43 + ":", "bad_request"),
        ("sha-256=:ä:", "bad_request"),
        ("sha-256=::", "bad_request"),
        ("sha-256=", "bad_request"),
    ):
        is_refusal(await post(served, b"words", **{name: value}), 400, code)
        await left_nothing(served)
    for value in (right, f"{right};q=1", f"{digest(b'words', 'sha512')}, {right}", "md5=:AA==:"):
        assert (await post(served, b"words", **{name: value})).status == 202, value


async def test_both_digests_are_held_to(serve: Serve) -> None:
    served = await serve()
    right, other = digest(b"words"), digest(b"other")
    both = {"Repr_Digest": right, "Content_Digest": other}
    is_refusal(await post(served, b"words", **both), 400, "bad_request")
    second = {"Repr_Digest": digest(b"words", "sha512"), "Content_Digest": other}
    is_refusal(await post(served, b"words", **second), 400, "digest_mismatch")
    await left_nothing(served)
    same = {"Repr_Digest": right, "Content_Digest": right}
    assert (await post(served, b"words", **same)).status == 202


# --- what the server says of it ------------------------------------------------------------


async def test_uploads_and_refusals_are_counted(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    await upload(served, PHOTO, "a.jpg", by=ada.http)
    is_refusal(await post(served, b"MZ" + bytes(100), "a"), 415, "file_type_refused")
    async with served.admin.get("/metrics") as response:
        figures = await response.text()
    assert 'appliance_uploads_total{type="IMAGE"} 1.0' in figures
    assert 'code="file_type_refused"} 1.0' in figures


async def test_a_failing_database_leaves_no_file(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    shared = services_of(served)

    async def fail(_: object) -> None:
        raise aiohttp.ClientError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(shared.database, "write", fail)
        is_refusal(await post(served, b"words"), 500, "internal_error")
    await left_nothing(served)
    assert (await post(served, b"words")).status == 202
