"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, the text after draft 11).

Each test is named after the section of the draft and what it says there; the sentence stands in
its docstring where it is a MUST. 104 is read from the socket: clients of HTTP hide it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.database import keys
from appliance.errors import StorageUnavailable
from appliance.intake import appending
from appliance.storage.local_partials import LocalPartials
from tests import media
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.conftest import Join
from tests.web.wire import (
    BEARER,
    Answer,
    Wire,
    exchange,
    files_of,
    in_pieces,
    is_refusal,
    problem,
    services_of,
    until,
    upload,
    wire,
)

TEXT = b"A text of some words, again and again. " * 500
PARTIAL = "Content-Type: application/partial-upload"
WHOLE, PART = "Upload-Complete: ?1", "Upload-Complete: ?0"
DRAFT = "Upload-Draft-Interop-Version: 8"
IANA = "https://iana.org/assignments/http-problem-types#"


def length(data: bytes) -> str:
    return f"Content-Length: {len(data)}"


def sha256(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def create(served: Served, *headers: str, body: bytes = b"", at: str = "/files") -> Answer:
    """A creation of one file `a.txt`, and its final answer."""
    return await exchange(served, f"POST {at}?filename=a.txt", length(body), *headers, body=body)


async def begin(served: Served, *headers: str, body: bytes = b"") -> str:
    """The address of a new upload that has `body` so far."""
    answer = await create(served, PART, *headers, body=body)
    assert answer.status == 201, answer.body
    return answer.headers["Location"]


async def append(served: Served, location: str, offset: int, body: bytes, *headers: str) -> Answer:
    """An append; the last of it unless `headers` say otherwise."""
    completeness = [] if any("omplete: " in one for one in headers) else [WHOLE]
    return await exchange(
        served,
        f"PATCH {location}",
        PARTIAL,
        f"Upload-Offset: {offset}",
        *completeness,
        length(body),
        *headers,
        body=body,
    )


async def head(served: Served, location: str, **headers: str) -> Any:
    async with served.admin.head(location, headers=headers) as response:
        return response


async def offset_of(served: Served, location: str) -> int:
    response = await head(served, location)
    assert response.status == 204
    return int(response.headers["Upload-Offset"])


def id_of(location: str) -> str:
    return location.rpartition("/")[2]


def partial(served: Served, location: str) -> Path:
    return served.data_dir / "files/partial" / id_of(location)


def original(served: Served, location: str) -> bytes:
    return (served.data_dir / "files/raw" / id_of(location) / "a.txt").read_bytes()


@asynccontextmanager
async def under_way(served: Served, location: str, offset: int, sent: bytes) -> AsyncIterator[Wire]:
    """An append whose client has sent so much of it, and then nothing more."""
    async with wire(served) as connection:
        announced = f"Content-Length: {len(TEXT) - offset}"
        at = f"Upload-Offset: {offset}"
        await connection.head(f"PATCH {location}", PARTIAL, at, WHOLE, announced)
        await connection.send(sent)
        path = partial(served, location)
        await until(lambda: path.stat().st_size == offset + len(sent))
        yield connection


# --- "Offset" -----------------------------------------------------------------------------------


async def test_offset_never_decreases(serve: Serve) -> None:
    """The offset MUST NOT decrease."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    seen = [100]
    for at, end in ((100, 200), (0, 100), (150, 300), (200, 400), (100, 101)):
        await append(served, location, at, TEXT[at:end], PART)
        seen.append(await offset_of(served, location))
    assert seen == [100, 200, 200, 200, 400, 400]
    assert partial(served, location).read_bytes() == TEXT[:400]


@pytest.mark.parametrize("what", ["gone", "shorter"])
async def test_offset_of_lost_state_deactivates_the_resource(serve: Serve, what: str) -> None:
    """If the server loses any part of the state, it MUST deactivate the upload resource and reject
    further interaction with it."""
    served = await serve()
    location, other = await begin(served, body=TEXT[:100]), await begin(served, body=TEXT[:100])
    for one in (location, other):
        if what == "gone":
            partial(served, one).unlink()
        else:
            partial(served, one).write_bytes(TEXT[:99])
    assert (await head(served, location)).status == 410
    is_refusal(await append(served, other, 100, TEXT[100:]), 410, "upload_gone")
    for one in (location, other):
        for _ in range(2):
            assert (await head(served, one)).status == 410
            is_refusal(await append(served, one, 100, TEXT[100:]), 410, "upload_gone")
            is_refusal(await append(served, one, 0, TEXT), 410, "upload_gone")


@pytest.mark.parametrize("value", ["x", "-1", "1.0", "?1", '"100"', "100, 100", "1e2", "100;", ""])
async def test_offset_of_other_values_is_ignored(serve: Serve, value: str) -> None:
    """Other values MUST cause the entire header field to be ignored. An append must have one."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    answer = await exchange(
        served, f"PATCH {location}", PARTIAL, f"Upload-Offset: {value}", WHOLE, "Content-Length: 0"
    )
    is_refusal(answer, 400, "bad_request")
    twice = ("Upload-Offset: 100", "Upload-Offset: 100")
    answer = await exchange(
        served, f"PATCH {location}", PARTIAL, *twice, WHOLE, "Content-Length: 0"
    )
    is_refusal(answer, 400, "bad_request")
    assert await offset_of(served, location) == 100


async def test_offset_may_have_parameters(serve: Serve) -> None:
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    for at, value in ((100, "100;a=1"), (101, '101; b="x;y"; c'), (102, "102")):
        answer = await exchange(
            served, f"PATCH {location}", PARTIAL, f"Upload-Offset: {value}", PART,
            "Content-Length: 1", body=TEXT[at : at + 1],
        )  # fmt: skip
        assert answer.status == 204, value


# --- "Completeness" -----------------------------------------------------------------------------


async def test_completeness_is_only_what_the_client_says(serve: Serve) -> None:
    """The offset could match the length, but the upload can still be incomplete."""
    served = await serve()
    location = await begin(served, f"Upload-Length: {len(TEXT)}")
    answer = await append(served, location, 0, TEXT, PART)
    assert (answer.status, answer.headers["Upload-Complete"]) == (204, "?0")
    found = await head(served, location)
    assert (found.headers["Upload-Complete"], found.headers["Upload-Offset"]) == (
        "?0", str(len(TEXT)),
    )  # fmt: skip
    answer = await append(served, location, len(TEXT), b"")
    assert (answer.status, answer.headers["Upload-Complete"]) == (202, "?1")
    assert original(served, location) == TEXT


@pytest.mark.parametrize("value", ["1", "true", "?2", "yes", "?1, ?1", "?1;;", ""])
async def test_completeness_of_other_values_is_ignored(serve: Serve, value: str) -> None:
    """Other values MUST cause the entire header field to be ignored. Without it POST /upload is an
    upload as ever, and an append is not well formed."""
    served = await serve()
    answer = await create(served, f"Upload-Complete: {value}", body=TEXT, at="/upload")
    assert answer.status == 202
    assert "Upload-Complete" not in answer.headers
    location = await begin(served, body=TEXT[:100])
    answer = await append(served, location, 100, TEXT[100:], f"Upload-Complete: {value}")
    is_refusal(answer, 400, "bad_request")
    assert await offset_of(served, location) == 100


# --- "Length" -----------------------------------------------------------------------------------


async def test_length_by_both_ways_must_match(serve: Serve) -> None:
    """If indicators (1) and (2) are both present in the same request, their indicated lengths MUST
    match."""
    served = await serve()
    answer = await create(served, WHOLE, "Upload-Length: 7", body=TEXT)
    document = is_refusal(answer, 400, "length_mismatch")
    assert document["type"] == IANA + "inconsistent-upload-length"
    location = await begin(served, body=TEXT[:100])
    answer = await append(served, location, 100, TEXT[100:], "Upload-Length: 7000")
    document = is_refusal(answer, 400, "length_mismatch")
    assert document["type"] == IANA + "inconsistent-upload-length"
    assert await offset_of(served, location) == 100
    answer = await append(served, location, 100, TEXT[100:], f"Upload-Length: {len(TEXT)}")
    assert answer.status == 202


async def test_length_in_several_requests_must_match(serve: Serve) -> None:
    """If multiple requests include indicators, their indicated values MUST match."""
    served = await serve()
    location = await begin(served, f"Upload-Length: {len(TEXT)}", body=TEXT[:100])
    for headers, body in (
        ([PART, f"Upload-Length: {len(TEXT) + 1}"], b""),
        ([PART, f"Upload-Length: {len(TEXT) - 1}"], TEXT[100:200]),
        ([WHOLE], TEXT[100:200]),  # ends too early
        ([WHOLE], TEXT[100:] + b"x"),  # and too late
    ):
        answer = await append(served, location, 100, body, *headers)
        document = is_refusal(answer, answer.status, answer.json()["code"])
        assert document["code"] in ("length_mismatch", "length_exceeded")
        assert document["type"] == IANA + "inconsistent-upload-length"
        assert await offset_of(served, location) == 100
    assert (await append(served, location, 100, TEXT[100:])).status == 202


async def test_length_of_other_values_is_ignored(serve: Serve) -> None:
    """Other values MUST cause the entire header field to be ignored."""
    served = await serve()
    for value in ("x", "-1", "5.0", '"5"', "?1", "5, 5"):
        location = await begin(served, f"Upload-Length: {value}", body=b"words")
        assert "Upload-Length" not in (await head(served, location)).headers


# --- "Limits" -----------------------------------------------------------------------------------


async def test_limits_in_options(serve: Serve) -> None:
    """When responding to an OPTIONS request, if the resource that is the target of the request
    supports the creation of a resumable upload resource, the server MUST include the Accept-Patch
    header field. The value MUST include the full application/partial-upload media type."""
    served = await serve(max_upload_bytes="1000000", upload_expiry_s="60")
    location = await begin(served)
    for path in ("/files", location, "/upload", "/upload/a.txt"):
        async with served.anonymous.options(path) as response:
            assert response.status == 204
            assert response.headers["Accept-Patch"] == "application/partial-upload"
            limits = response.headers["Upload-Limit"]
            assert limits == "max-size=1000000, min-size=1, max-age=60"


async def test_limits_with_413(serve: Serve) -> None:
    """A server responding with a 413 Content Too Large status code as a result of its upload limits
    MUST include the Upload-Limit header in this response."""
    served = await serve(max_upload_bytes="1000")
    too_long = b"word " * 201
    chunked = "Transfer-Encoding: chunked"
    chunks = b"3ed\r\n" + too_long + b"\r\n0\r\n\r\n"
    location = await begin(served, body=b"word " * 100)
    answers = [
        await create(served, WHOLE, body=too_long),
        await create(served, PART, "Upload-Length: 1001"),
        await create(served, body=too_long, at="/upload"),
        await exchange(served, "POST /files?filename=a.txt", WHOLE, chunked, body=chunks),
        await append(served, location, 500, b"", PART, "Upload-Length: 1001"),
        await append(served, location, 500, b"word " * 101),
    ]
    for answer in answers:
        is_refusal(answer, 413, "file_too_large")
        assert "max-size=1000" in answer.headers["Upload-Limit"]
    assert await offset_of(served, location) == 500


async def test_limits_while_the_upload_goes_on(serve: Serve) -> None:
    """They SHOULD NOT change in a way that causes failures for clients adhering to the initially
    discovered limits: the age is counted from the last byte."""
    served = await serve(upload_expiry_s="1000")
    answer = await create(served, PART)
    first = int(re.search(r"max-age=(\d+)", answer.headers["Upload-Limit"])[1])  # type: ignore[index]
    await append(served, answer.headers["Location"], 0, TEXT[:10], PART)
    found = await head(served, answer.headers["Location"])
    assert 990 <= int(found.headers["Upload-Limit"].rpartition("max-age=")[2]) <= first == 1000


# --- "Upload Creation", Server Behavior ---------------------------------------------------------


@pytest.mark.parametrize("at", ["POST /files", "POST /upload", "PUT /upload"])
async def test_creation_is_announced_by_104(serve: Serve, at: str) -> None:
    """When sent, it MUST include Location header field pointing to the upload resource and MUST
    include the Upload-Limit header field with the corresponding limits.
    All interim and final response messages for the same request MUST contain an identical Location
    value; final responses with Upload-Complete: ?1 are exempt."""
    served = await serve()
    line = "PUT /upload/a.txt" if at.startswith("PUT") else f"{at}?filename=a.txt"
    for completeness, status in ((WHOLE, 202), (PART, 201)):
        async with wire(served) as connection:
            await connection.head(line, DRAFT, completeness, length(TEXT))
            interim = await connection.answer()
            assert interim.status == 104
            assert interim.headers["Upload-Limit"].startswith("max-size=")
            location = interim.headers["Location"]
            assert partial(served, location).exists()
            await connection.send(TEXT)
            answer = await connection.answer()
        assert answer.status == status, answer.body
        if status == 201:
            assert answer.headers["Location"] == location
            assert answer.headers["Upload-Complete"] == "?0"
        else:
            assert answer.headers["Upload-Complete"] == "?1"
            assert answer.json()["jobId"] == id_of(location)


async def test_creation_without_a_version_is_not_announced(serve: Serve) -> None:
    """Server implementations of draft versions of the protocol MUST NOT send a 104 informational
    response when the interop version indicated in the request is missing or mismatching
    ("Draft Version Identification")."""
    served = await serve()
    for version in ([], ["Upload-Draft-Interop-Version: 9"], ["Upload-Draft-Interop-Version: x"]):
        answer = await create(served, PART, *version, body=TEXT[:10])
        assert answer.status == 201  # the first that came
        assert "Upload-Draft-Interop-Version" not in answer.headers
        assert await offset_of(served, answer.headers["Location"]) == 10


async def test_creation_of_a_part_is_answered_with_its_address(serve: Serve) -> None:
    """If the request content was fully processed, the server MUST include the Location response
    header field pointing to the upload resource and MUST include the Upload-Limit header field.
    Servers are RECOMMENDED to use the 201 (Created) status code."""
    served = await serve()
    for body in (b"", TEXT[:10]):
        answer = await create(served, PART, body=body)
        assert answer.status == 201
        assert answer.headers["Upload-Limit"].startswith("max-size=")
        assert answer.headers["Upload-Complete"] == "?0"
        assert await offset_of(served, answer.headers["Location"]) == len(body)


async def test_creation_records_the_length(serve: Serve) -> None:
    """The server MUST record the length according to "Length" if the Upload-Length or
    Upload-Complete: ?1 header fields are included in the request."""
    served = await serve()
    location = await begin(served, f"Upload-Length: {len(TEXT)}")
    assert (await head(served, location)).headers["Upload-Length"] == str(len(TEXT))
    async with wire(served) as connection:
        await connection.head("POST /files?filename=a.txt", DRAFT, WHOLE, length(TEXT))
        location = (await connection.answer()).headers["Location"]
        connection.abort()
    assert (await head(served, location)).headers["Upload-Length"] == str(len(TEXT))


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_creation_that_breaks_off_can_be_gone_on_with(serve: Serve, framing: str) -> None:
    """The server SHOULD append as much of the request content as possible to the upload resource.
    In addition, the upload resource MUST NOT be considered complete then."""
    served = await serve()
    framings = {"length": length(TEXT), "chunked": "Transfer-Encoding: chunked"}
    head_of_body = b"" if framing == "length" else b"%x\r\n" % len(TEXT)
    async with wire(served) as connection:
        await connection.head("POST /upload?filename=a.txt", DRAFT, WHOLE, framings[framing])
        location = (await connection.answer()).headers["Location"]
        await connection.send(head_of_body + TEXT[:5000])
        await until(lambda: partial(served, location).stat().st_size == 5000)
        connection.abort()
    found = await head(served, location)
    assert (found.headers["Upload-Offset"], found.headers["Upload-Complete"]) == ("5000", "?0")
    answer = await append(served, location, 5000, TEXT[5000:])
    assert answer.status == 202
    assert answer.json()["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert original(served, location) == TEXT


async def test_creation_is_answered_as_the_target_would(serve: Serve) -> None:
    """The resource targeted by this initial request is responsible for processing the
    representation data: name, type and options are those of POST /upload."""
    served = await serve()
    photo = media.jpeg(64, 48)
    for line, headers in (
        ("POST /upload?filename=a.jpg&priority=9", []),
        ("PUT /upload/a.jpg?priority=9", []),
        ("POST /files?priority=9", ["Content-Disposition: inline; filename=a.jpg"]),
        ("POST /files?priority=9", ["Content-Disposition: inline; filename*=UTF-8''%61.jpg"]),
    ):
        answer = await exchange(
            served, line, WHOLE, length(photo), "Content-Type: image/jpeg", *headers, body=photo
        )
        job = answer.json()
        assert (answer.status, answer.headers["Upload-Complete"]) == (202, "?1")
        assert (job["filename"], job["type"], job["priority"]) == ("a.jpg", "IMAGE", 9)
        assert answer.headers["Location"] == job["statusUrl"]


async def test_creation_is_refused_before_the_body(serve: Serve) -> None:
    served = await serve(quota_bytes="1000000", max_open_uploads="1")
    expect = "Expect: 100-continue"
    for headers, status, code in (
        (["Content-Length: 11000000000"], 413, "file_too_large"),
        (["Content-Length: 1000001"], 413, "quota_exceeded"),
        (["Content-Length: 5", "Content-Type: text/html"], 415, "file_type_refused"),
        (["Content-Length: 5", "Content-Encoding: gzip"], 415, "content_encoding_refused"),
        (["Content-Length: 5", "Repr-Digest: sha-256=x"], 400, "bad_request"),
        (["Content-Length: 0"], 400, "empty_file"),
    ):
        answer = await exchange(served, "POST /files", WHOLE, DRAFT, expect, *headers)
        is_refusal(answer, status, code)  # the first that came: neither 100 nor 104
        assert answer.headers["Upload-Draft-Interop-Version"] == "8"
    assert files_of(served) == set()
    await begin(served)
    is_refusal(await create(served, PART), 429, "too_many_open_uploads")


async def test_creation_by_a_form_is_an_upload_as_ever(serve: Serve) -> None:
    """A resource that does not want to upgrade to a resumable upload for this request ignores the
    Upload-Complete: ?1 header ("Upgrading To Resumable Uploads"). iOS adds it to every upload."""
    served = await serve()
    form = "Content-Type: multipart/form-data; boundary=x"
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        b"words\r\n--x--\r\n"
    )
    ios = ("Upload-Draft-Interop-Version: 3", "Upload-Incomplete: ?0")
    answer = await exchange(served, "POST /upload", form, length(body), *ios, body=body)
    assert (answer.status, answer.json()["sizeBytes"]) == (202, 5)
    answer = await exchange(served, "POST /upload", form, length(body), PART, body=body)
    is_refusal(answer, 400, "bad_request")


# --- "Offset Retrieval", Server Behavior --------------------------------------------------------


async def test_retrieval_tells_all(serve: Serve) -> None:
    """A successful response MUST include the offset in the Upload-Offset header field, MUST include
    the completeness state, MUST include the length, unless the client has not supplied one, MUST
    indicate the limits, and SHOULD include the Cache-Control header field with the value no-store.
    """
    served = await serve()
    location = await begin(served, body=TEXT[:10])
    found = await head(served, location)
    assert found.status == 204
    assert found.headers["Upload-Offset"] == "10"
    assert found.headers["Upload-Complete"] == "?0"
    assert "Upload-Length" not in found.headers
    assert "max-size=" in found.headers["Upload-Limit"]
    assert "max-age=" in found.headers["Upload-Limit"]
    assert found.headers["Cache-Control"] == "no-store"
    await append(served, location, 10, TEXT[10:20], PART, f"Upload-Length: {len(TEXT)}")
    found = await head(served, location)
    assert (found.headers["Upload-Offset"], found.headers["Upload-Length"]) == (
        "20", str(len(TEXT)),
    )  # fmt: skip


async def test_retrieval_after_the_end(serve: Serve) -> None:
    """The server SHOULD keep the upload resource available for a reasonable amount of time after
    the upload is complete. The response tells where the job is ("Responses to Uploads")."""
    served = await serve()
    location = await begin(served, body=TEXT[:10])
    await append(served, location, 10, TEXT[10:])
    found = await head(served, location)
    assert found.status == 204
    assert found.headers["Upload-Complete"] == "?1"
    assert found.headers["Upload-Offset"] == found.headers["Upload-Length"] == str(len(TEXT))
    assert found.headers["Upload-Job-Id"] == id_of(location)
    assert f"/status/{id_of(location)}" in found.headers["Link"]


async def test_retrieval_while_bytes_come_in(serve: Serve) -> None:
    """The server MUST NOT send outdated information in responses when retrieving the offset: the
    offset sent by the server MUST be accepted in a subsequent request to append ("Concurrency")."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    async with under_way(served, location, 100, TEXT[100:3000]) as older:
        offset = await offset_of(served, location)
        assert offset == 3000
        is_refusal(await older.answer(), 409, "upload_taken_over")
        await older.send(TEXT[3000:])
        await older.closed()
    assert partial(served, location).stat().st_size == 3000
    assert (await append(served, location, offset, TEXT[offset:])).status == 202
    assert original(served, location) == TEXT


# --- "Upload Append", Server Behavior -----------------------------------------------------------


async def test_append_that_breaks_off_is_kept(serve: Serve) -> None:
    """The server SHOULD append as much of the patch document as possible, starting at its beginning
    and without discontinuities. The upload resource MUST NOT be considered complete then."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    async with under_way(served, location, 100, TEXT[100:4000]) as connection:
        connection.abort()
    found = await head(served, location)
    assert (found.headers["Upload-Offset"], found.headers["Upload-Complete"]) == ("4000", "?0")
    assert (await append(served, location, 4000, TEXT[4000:])).status == 202
    assert original(served, location) == TEXT


async def test_append_at_another_offset_is_rejected(serve: Serve) -> None:
    """If the Upload-Offset request header field value does not match the current offset, the server
    MUST reject the request with a 409 (Conflict) status code. The response MUST include the correct
    offset in the Upload-Offset header field."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    for wrong in (0, 99, 101, len(TEXT), 999_999_999_999_999):
        answer = await append(served, location, wrong, TEXT[wrong:])
        document = is_refusal(answer, 409, "offset_mismatch")
        assert answer.headers["Upload-Offset"] == "100"
        assert document["type"] == IANA + "mismatching-upload-offset"
        assert (document["expected-offset"], document["provided-offset"]) == (100, wrong)
        assert answer.headers.get("Upload-Complete") != "?1"
    assert await offset_of(served, location) == 100


async def test_append_to_a_complete_upload_is_rejected(serve: Serve) -> None:
    """If the upload is already complete, the server MUST NOT modify the upload resource and MUST
    reject the request. If the client attempted to append a non-zero length document, the server
    MUST treat this as an inconsistent length failure."""
    served = await serve()
    location = await begin(served, body=TEXT)
    assert (await append(served, location, len(TEXT), b"")).status == 202
    for offset, completeness in ((len(TEXT), WHOLE), (len(TEXT), PART), (0, WHOLE)):
        answer = await append(served, location, offset, b"more", completeness)
        document = is_refusal(answer, 400, "length_mismatch")
        assert document["type"] == IANA + "inconsistent-upload-length"
        answer = await append(served, location, offset, b"", completeness)
        document = is_refusal(answer, 409, "upload_completed")
        assert document["type"] == IANA + "completed-upload"
        assert document["jobId"] == id_of(location)
    chunked = in_pieces([b"more"])
    headers = {"Upload-Offset": str(len(TEXT)), "Upload-Complete": "?1",
               "Content-Type": "application/partial-upload"}  # fmt: skip
    async with served.admin.patch(location, data=chunked, headers=headers) as response:
        problem(response.status, await response.json(content_type=None), 400, "length_mismatch")
    assert original(served, location) == TEXT
    assert (await head(served, location)).headers["Upload-Offset"] == str(len(TEXT))


async def test_append_of_the_last_part_is_answered_as_the_target_would(serve: Serve) -> None:
    """The server SHOULD generate the response that matches what the resource, that was targeted by
    the initial upload creation, would have generated. However, the response MUST include the
    Upload-Complete header field with a true value."""
    served = await serve()
    at_once = await upload(served, TEXT)
    location = await begin(served, body=TEXT[:100])
    answer = await append(served, location, 100, TEXT[100:])
    assert (answer.status, answer.headers["Upload-Complete"]) == (202, "?1")
    job = answer.json()
    assert answer.headers["Location"] == job["statusUrl"]
    assert job.keys() == at_once.keys()
    assert (job["sha256"], job["filename"]) == (at_once["sha256"], at_once["filename"])


@pytest.mark.parametrize("fault", ["digest", "type", "empty"])
async def test_append_says_that_a_refusal_is_of_the_whole(serve: Serve, fault: str) -> None:
    """The response MUST include the Upload-Complete header field with a true value, allowing
    clients to identify whether a response, in particular error responses, is related to the
    resumable upload itself or the processing of the uploaded representation."""
    served = await serve()
    if fault == "empty":
        location, rest, expected = await begin(served), b"", (400, "empty_file")
    elif fault == "digest":
        location = await begin(served, f"Repr-Digest: {sha256(b'x')}", body=TEXT[:10])
        rest, expected = TEXT[10:], (400, "digest_mismatch")
    else:
        location = await begin(served, body=b"\x7f")  # what it is shows with the rest only
        rest, expected = b"ELF" + bytes(100), (415, "file_type_refused")
    offset = await offset_of(served, location)
    answer = await append(served, location, offset, rest)
    is_refusal(answer, *expected)
    assert answer.headers["Upload-Complete"] == "?1"
    assert (await head(served, location)).status == 410
    assert not partial(served, location).exists()


async def test_append_to_what_is_closed_but_not_yet_a_job(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the upload is already complete, the server MUST NOT modify the upload resource: also when
    the disk failed after the last byte. The next look brings it to its end."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])

    async def fail(*_: object) -> None:
        raise StorageUnavailable("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(LocalPartials, "commit", fail)
        answer = await append(served, location, 100, TEXT[100:])
        is_refusal(answer, 503, "storage_unavailable")
        assert answer.headers["Upload-Complete"] == "?1"
        answer = await append(served, location, len(TEXT), b"more")
        is_refusal(answer, 503, "storage_unavailable")
    is_refusal(await append(served, location, len(TEXT), b"more"), 400, "length_mismatch")
    found = await head(served, location)
    assert (found.headers["Upload-Complete"], found.status) == ("?1", 204)
    assert original(served, location) == TEXT


async def test_append_of_a_part_is_acknowledged(serve: Serve) -> None:
    """The server acknowledges the appended data by sending a 2xx (Successful) response with the
    Upload-Complete header field set to false."""
    served = await serve()
    location = await begin(served)
    for offset in (0, 100, 200):
        answer = await append(served, location, offset, TEXT[offset : offset + 100], PART)
        assert (answer.status, answer.headers["Upload-Complete"]) == (204, "?0")
        assert answer.headers["Upload-Offset"] == str(offset + 100)
    answer = await append(served, location, 300, b"", PART)
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, "300")


async def test_append_records_the_length(serve: Serve) -> None:
    """The server MUST record the length according to "Length" if the Upload-Length or
    Upload-Complete header fields are included in the request."""
    served = await serve()
    location = await begin(served)
    await append(served, location, 0, b"", PART, f"Upload-Length: {len(TEXT)}")
    assert (await head(served, location)).headers["Upload-Length"] == str(len(TEXT))
    location = await begin(served)
    async with under_way(served, location, 0, TEXT[:100]) as connection:
        connection.abort()
    assert (await head(served, location)).headers["Upload-Length"] == str(len(TEXT))


async def test_append_beyond_the_length_makes_the_upload_invalid(serve: Serve) -> None:
    """The server MUST prevent the offset from exceeding the upload length by rejecting the request
    once the offset exceeds the length, marking the upload resource invalid and rejecting any
    further interaction with it. It is not sufficient to rely on the Content-Length header field."""
    served = await serve()
    location = await begin(served, "Upload-Length: 10")
    async with wire(served) as connection:
        await connection.head(
            f"PATCH {location}", PARTIAL, "Upload-Offset: 0", PART, "Transfer-Encoding: chunked"
        )
        await connection.send(b"8\r\nwords wo\r\n")
        await connection.send(b"8\r\nrds word\r\n")
        document = is_refusal(await connection.answer(), 413, "length_exceeded")
        assert document["type"] == IANA + "inconsistent-upload-length"
    assert (await head(served, location)).status == 410
    for offset in (0, 8, 10):
        is_refusal(await append(served, location, offset, b"x", PART), 410, "upload_gone")
    assert not partial(served, location).exists()


async def test_append_tells_its_progress(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server SHOULD send interim responses with a 104 status code and the Upload-Offset header
    field set to the current offset. These interim responses MUST NOT include the Location header
    field. A told offset is a guarantee ("Offset"): it stands when the client is gone."""
    monkeypatch.setattr(appending, "CHECKPOINT_BYTES", 4000)
    served = await serve()
    location = await begin(served)
    async with wire(served) as connection:
        await connection.head(
            f"PATCH {location}", PARTIAL, DRAFT, "Upload-Offset: 0", WHOLE, length(TEXT)
        )
        told = 0
        while told < 12_000:
            await connection.send(TEXT[told : told + 4000])
            interim = await connection.answer()
            assert interim.status == 104
            assert "Location" not in interim.headers
            assert interim.headers["Upload-Draft-Interop-Version"] == "8"
            assert int(interim.headers["Upload-Offset"]) == told + 4000
            told += 4000
        connection.abort()
    assert await offset_of(served, location) >= 12_000


async def test_append_wants_its_media_type(serve: Serve) -> None:
    served = await serve()
    location = await begin(served)
    for headers in ([], ["Content-Type: text/plain"], ["Content-Type: application/*"]):
        answer = await exchange(
            served,
            f"PATCH {location}",
            "Upload-Offset: 0",
            WHOLE,
            length(TEXT),
            *headers,
            body=TEXT,
        )
        is_refusal(answer, 415, "content_type_refused")
    encoded = await append(served, location, 0, TEXT, "Content-Encoding: gzip")
    is_refusal(encoded, 415, "content_encoding_refused")
    assert await offset_of(served, location) == 0


# --- "Upload Cancellation", Server Behavior -----------------------------------------------------


async def test_cancellation_deactivates_the_resource(serve: Serve) -> None:
    """Upon receiving a DELETE request, the server SHOULD deactivate the upload resource."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    assert (await exchange(served, f"DELETE {location}")).status == 204
    assert not partial(served, location).exists()
    assert (await head(served, location)).status == 410
    is_refusal(await append(served, location, 100, TEXT[100:]), 410, "upload_gone")
    is_refusal(await exchange(served, f"DELETE {location}"), 410, "upload_gone")


async def test_cancellation_ends_what_is_under_way(serve: Serve) -> None:
    """The server SHOULD terminate any in-flight requests to the upload resource before sending the
    response."""
    served = await serve()
    location = await begin(served)
    async with under_way(served, location, 0, TEXT[:1000]) as older:
        assert (await exchange(served, f"DELETE {location}")).status == 204
        assert not partial(served, location).exists()
        is_refusal(await older.answer(), 409, "upload_taken_over")
        await older.send(TEXT[1000:])
        await older.closed()
    assert files_of(served) == set()
    assert (await served.json("GET", "/jobs"))["jobs"] == []


# --- "Concurrency" ------------------------------------------------------------------------------


async def test_concurrency_never_mixes_bytes(serve: Serve) -> None:
    """The server MUST take measures to prevent race conditions, data loss and corruption from
    concurrent requests to append representation data and/or cancellation."""
    served = await serve()
    location = await begin(served, body=TEXT[:100])
    answers = await asyncio.gather(
        *(append(served, location, 100, TEXT[100:]) for _ in range(10)),
        *(append(served, location, 100, bytes([65 + n]) * 50, PART) for n in range(5)),
    )
    assert {answer.status for answer in answers} <= {202, 204, 400, 409}
    taken = [answer for answer in answers if answer.status < 300]
    assert len(taken) <= 1
    if taken and taken[0].status == 202:
        assert original(served, location) == TEXT
    else:
        stored = partial(served, location).read_bytes()
        assert stored[:100] == TEXT[:100]
        assert await offset_of(served, location) == len(stored)


async def test_concurrency_the_newer_request_goes_first(serve: Serve) -> None:
    """The server SHOULD prevent race conditions, data loss, and corruption by terminating the
    previous request before processing the new request."""
    served = await serve()
    location = await begin(served)
    async with under_way(served, location, 0, TEXT[:2000]) as older:
        answer = await append(served, location, 2000, TEXT[2000:])
        assert answer.status == 202
        is_refusal(await older.answer(), 409, "upload_taken_over")
    assert original(served, location) == TEXT


async def test_concurrency_of_a_cancellation_and_appends(serve: Serve) -> None:
    served = await serve()
    location = await begin(served)
    answers = await asyncio.gather(
        *(append(served, location, 0, TEXT) for _ in range(5)),
        exchange(served, f"DELETE {location}"),
    )
    completed = [answer for answer in answers[:5] if answer.status == 202]
    assert len(completed) + (answers[5].status == 204) == 1
    assert len((await served.json("GET", "/jobs"))["jobs"]) == len(completed)


# --- "Status Code 104", "Draft Version Identification" ------------------------------------------


async def test_104_stands_for_no_100(serve: Serve) -> None:
    """The server MUST NOT omit the 100 (Continue) response because it has sent an interim response
    with the 104 (Upload Resumption Supported) status code."""
    served = await serve()
    async with wire(served) as connection:
        await connection.head(
            "POST /upload?filename=a.txt", DRAFT, WHOLE, length(TEXT), "Expect: 100-continue"
        )
        interim = [await connection.answer(), await connection.answer()]
        assert [one.status for one in interim] == [104, 100]
        await connection.send(TEXT)
        assert (await connection.answer()).status == 202


@pytest.mark.parametrize("version", [3, 4, 5, 6, 7, 8])
async def test_104_names_the_version(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Server implementations of draft versions of the protocol MUST also send a header field
    Upload-Draft-Interop-Version with the interop version as its value to the 104 response.

    A whole upload as clients of that version make it: broken off, asked for, gone on with."""
    monkeypatch.setattr(appending, "CHECKPOINT_BYTES", 4000)
    served = await serve()
    draft = f"Upload-Draft-Interop-Version: {version}"
    field, yes, no = ("Upload-Incomplete", "?0", "?1") if version == 3 else (
        "Upload-Complete", "?1", "?0")  # fmt: skip
    async with wire(served) as connection:
        await connection.head("POST /upload?filename=a.txt", draft, f"{field}: {yes}", length(TEXT))
        interim = await connection.answer()
        assert interim.status == 104
        assert interim.headers["Upload-Draft-Interop-Version"] == str(version)
        location = interim.headers["Location"]
        await connection.send(TEXT[:5000])
        await until(lambda: partial(served, location).stat().st_size == 5000)
        connection.abort()
    found = await head(served, location, **{"Upload-Draft-Interop-Version": str(version)})
    assert found.status == 204
    assert (found.headers["Upload-Offset"], found.headers[field]) == ("5000", no)
    assert found.headers["Upload-Draft-Interop-Version"] == str(version)
    content_type = [] if version < 6 else [PARTIAL]
    async with wire(served) as connection:
        await connection.head(
            f"PATCH {location}", draft, *content_type, "Upload-Offset: 5000",
            *([] if version == 3 else [f"{field}: {yes}"]), length(TEXT[5000:]),
        )  # fmt: skip
        await connection.send(TEXT[5000:])
        answer = await connection.answer()
        while answer.status == 104:
            assert version >= 5
            assert int(answer.headers["Upload-Offset"]) > 5000
            answer = await connection.answer()
    assert (answer.status, answer.headers[field]) == (202, yes)
    assert original(served, location) == TEXT


async def test_104_ends_the_connection_with_the_answer(serve: Serve) -> None:
    """So that a proxy that takes it for the answer (nginx 1.22) knows where that ends."""
    served = await serve()
    for complete, body in ((WHOLE, TEXT), (PART, TEXT), (WHOLE, b"\x7fELF" + bytes(5000))):
        async with wire(served) as connection:
            await connection.head("POST /upload?filename=a.txt", DRAFT, complete, length(body))
            assert (await connection.answer()).status == 104
            await connection.send(body)
            assert (await connection.answer()).headers["Connection"] == "close"
            assert await connection.closed() == b""


async def test_104_is_not_for_http_1_0(serve: Serve) -> None:
    served = await serve()
    async with wire(served) as connection:
        lines = ["POST /upload?filename=a.txt HTTP/1.0", BEARER, DRAFT, WHOLE, length(TEXT), "", ""]
        await connection.send("\r\n".join(lines).encode() + TEXT)
        assert (await connection.answer()).status == 202


# --- "Integrity Digests" ------------------------------------------------------------------------


async def test_representation_digest_is_held_to(serve: Serve) -> None:
    """If the digests don't match, the server SHOULD consider the upload failed, not process the
    representation further, and signal the failure to the client."""
    served = await serve()
    good = await begin(served, f"Repr-Digest: {sha256(TEXT)}", body=TEXT[:100])
    assert (await append(served, good, 100, TEXT[100:])).status == 202
    bad = await begin(served, f"Repr-Digest: {sha256(TEXT)}", body=b"x" * 100)
    is_refusal(await append(served, bad, 100, TEXT[100:]), 400, "digest_mismatch")
    assert (await head(served, bad)).status == 410
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


async def test_representation_digest_is_told_to_who_wants_it(serve: Serve) -> None:
    """The server SHOULD compute the representation digests using the preferred algorithms once the
    upload is complete and include the corresponding Repr-Digest header field in the response."""
    served = await serve()
    for wish, told in (
        ("Want-Repr-Digest: sha-256=1", True),
        ("Want-Repr-Digest: sha-512=3, sha-256=10", True),
        ("Want-Repr-Digest: sha-256=0", False),
        ("Want-Repr-Digest: md5=1", False),
        ("Want-Repr-Digest: sha-256", False),
    ):
        location = await begin(served, wish, body=TEXT[:100])
        last = await append(served, location, 100, TEXT[100:])
        for headers in (last.headers, (await head(served, location)).headers):
            assert headers.get("Repr-Digest") == (sha256(TEXT) if told else None), wish


async def test_content_digest_is_held_to_before_anything_is_appended(serve: Serve) -> None:
    """If the digests don't match the server SHOULD consider the transfer failed, not append the
    content to the upload resource, and signal the failure to the client."""
    served = await serve()
    wrong, right = f"Content-Digest: {sha256(b'x')}", f"Content-Digest: {sha256(TEXT[100:])}"
    location = await begin(served, body=TEXT[:100])
    is_refusal(await append(served, location, 100, TEXT[100:], wrong), 400, "digest_mismatch")
    assert await offset_of(served, location) == 100
    answer = await append(served, location, 100, TEXT[100:], right)
    assert (answer.status, answer.headers["Upload-Complete"]) == (202, "?1")
    answer = await create(served, PART, wrong, body=TEXT)
    is_refusal(answer, 400, "digest_mismatch")
    assert await offset_of(served, answer.headers["Location"]) == 0


async def test_content_digest_of_the_whole_is_that_of_the_representation(serve: Serve) -> None:
    """So a body that breaks off is kept all the same."""
    served = await serve()
    digest = f"Content-Digest: {sha256(TEXT)}"
    other = f"Repr-Digest: {sha256(b'x')}"
    is_refusal(await create(served, WHOLE, digest, other, body=TEXT), 400, "bad_request")
    async with wire(served) as connection:
        await connection.head("POST /upload?filename=a.txt", DRAFT, WHOLE, digest, length(TEXT))
        location = (await connection.answer()).headers["Location"]
        await connection.send(TEXT[:5000])
        await until(lambda: partial(served, location).stat().st_size == 5000)
        connection.abort()
    assert await offset_of(served, location) == 5000
    is_refusal(await append(served, location, 5000, b"other"), 400, "length_mismatch")
    assert (await append(served, location, 5000, TEXT[5000:])).status == 202


# --- "Security Considerations" ------------------------------------------------------------------


async def test_security_only_the_owner_has_access(serve: Serve, join: Join) -> None:
    """The server SHOULD ensure that only authorized clients can access the upload resource."""
    served = await serve()
    ada, eve = await join(served), await join(served)
    headers = {"Upload-Complete": "?0"}
    async with ada.http.post("/files?filename=a.txt", headers=headers, data=TEXT[:100]) as created:
        location = created.headers["Location"]
    more = {"Upload-Offset": "100", "Upload-Complete": "?1",
            "Content-Type": "application/partial-upload"}  # fmt: skip
    for session, status in ((eve.http, 404), (served.admin, 404), (served.anonymous, 401)):
        for method in ("HEAD", "PATCH", "DELETE"):
            data = TEXT[100:] if method == "PATCH" else None
            async with session.request(method, location, headers=more, data=data) as response:
                assert response.status == status
    assert partial(served, location).read_bytes() == TEXT[:100]
    async with ada.http.patch(location, headers=more, data=TEXT[100:]) as response:
        assert response.status == 202
        assert (await response.json())["owner"] == ada.key.owner


async def test_security_addresses_cannot_be_guessed(serve: Serve) -> None:
    """It is RECOMMENDED to generate upload resource URIs in such a way that makes it hard to be
    guessed. They MUST ensure that no internal information is leaked in the URI."""
    served = await serve()
    locations = [await begin(served) for _ in range(20)]
    assert len({location[-12:] for location in locations}) == 20
    for location in locations:
        assert re.fullmatch(r"/files/[0-9A-Z]{26}", location)


async def test_security_metadata_is_sanitized(serve: Serve) -> None:
    """Metadata MUST be validated and/or sanitized if the server takes its values into
    consideration."""
    served = await serve()
    for disposition, kept in (
        ('inline; filename="../../etc/a.txt"', "a.txt"),
        ("inline; filename*=UTF-8''%00%0D%0Aa.txt", "a.txt"),
        ("inline; filename*=UTF-8''%E2%80%AEtxt.txt", "txt.txt"),
        ("nonsense", "unnamed"),
    ):
        answer = await exchange(
            served, "POST /files", WHOLE, length(TEXT), f"Content-Disposition: {disposition}",
            body=TEXT,
        )  # fmt: skip
        assert answer.json()["filename"] == kept
        assert f"raw/{answer.json()['jobId']}/{kept}" in files_of(served)


async def test_security_parts_do_not_hide_what_a_file_is(serve: Serve) -> None:
    """Content scanning SHOULD consider how resumable uploads can circumvent it."""
    served = await serve()
    elf = b"\x7fELF\x02\x01\x01" + bytes(4096)
    location = await begin(served, body=elf[:1])
    for offset in range(1, 8):
        await append(served, location, offset, elf[offset : offset + 1], PART)
    is_refusal(await append(served, location, 8, elf[8:]), 415, "file_type_refused")
    assert files_of(served) == set()


async def test_security_access_is_validated_again_at_the_end(serve: Serve, join: Join) -> None:
    """The server SHOULD validate that the user is still allowed to perform the requested action
    before finalizing the upload."""
    served = await serve()
    shared = services_of(served)
    ada = await join(served)
    bearer = f"Authorization: Bearer {ada.secret}"
    for framing, body, rest in (
        (length(TEXT), TEXT[:5000], TEXT[5000:]),
        ("Transfer-Encoding: chunked", b"5\r\nwords\r\n", b"0\r\n\r\n"),
    ):
        async with wire(served) as connection:
            await connection.head("POST /files?filename=a.txt", DRAFT, WHOLE, framing, key=bearer)
            location = (await connection.answer()).headers["Location"]
            await connection.send(body)
            await until(partial(served, location).read_bytes)
            await shared.database.write(keys.revoke(ada.key.id, now=shared.clock.now()))
            await connection.send(rest)
            is_refusal(await connection.answer(), 401, "not_signed_in")
        assert files_of(served) == set()
        ada = await join(served)
        bearer = f"Authorization: Bearer {ada.secret}"


async def test_security_quota_is_validated_while_the_length_is_unknown(
    serve: Serve, join: Join
) -> None:
    served = await serve(quota_bytes="10000")
    location = await begin(served, body=TEXT[:6000])
    headers = {"Upload-Offset": "6000", "Upload-Complete": "?1",
               "Content-Type": "application/partial-upload"}  # fmt: skip
    data = in_pieces([TEXT[6000:9000], TEXT[9000:12000]])
    async with served.admin.patch(location, data=data, headers=headers) as response:
        assert "max-size" in response.headers["Upload-Limit"]
        problem(response.status, await response.json(content_type=None), 413, "quota_exceeded")
    assert await offset_of(served, location) == 6000
    data = in_pieces([TEXT[6000:8000]])
    async with served.admin.patch(location, data=data, headers=headers) as response:
        assert response.status == 202


# --- with tus, on the same resource -------------------------------------------------------------


async def test_begun_with_tus_and_finished_here(serve: Serve) -> None:
    served = await serve()
    tus = ["Tus-Resumable: 1.0.0", "Upload-Metadata: filename YS50eHQ="]
    answer = await exchange(
        served, "POST /files", *tus, f"Upload-Length: {len(TEXT)}", "Content-Length: 0"
    )
    location = answer.headers["Location"]
    answer = await exchange(
        served, f"PATCH {location}", *tus, "Content-Type: application/offset+octet-stream",
        "Upload-Offset: 0", "Content-Length: 3000", body=TEXT[:3000],
    )  # fmt: skip
    assert answer.status == 204
    found = await head(served, location)
    assert (found.headers["Upload-Offset"], found.headers["Upload-Complete"]) == ("3000", "?0")
    assert (await append(served, location, 3000, TEXT[3000:6000], PART)).status == 204
    assert (await append(served, location, 6000, TEXT[6000:])).status == 202
    assert original(served, location) == TEXT


async def test_begun_here_and_finished_with_tus(serve: Serve) -> None:
    served = await serve()
    location = await begin(served, f"Upload-Length: {len(TEXT)}", body=TEXT[:3000])
    async with served.admin.head(location, headers={"Tus-Resumable": "1.0.0"}) as found:
        assert found.headers["Upload-Offset"] == "3000"
    answer = await exchange(
        served, f"PATCH {location}", "Tus-Resumable: 1.0.0", "Upload-Offset: 3000",
        "Content-Type: application/offset+octet-stream", length(TEXT[3000:]), body=TEXT[3000:],
    )  # fmt: skip
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(TEXT)))
    assert original(served, location) == TEXT
    assert (await head(served, location)).headers["Upload-Complete"] == "?1"


# --- what the server says of it -----------------------------------------------------------------


async def test_uploads_and_refusals_are_counted(serve: Serve) -> None:
    served = await serve()
    location = await begin(served, body=TEXT[:10])
    await append(served, location, 5, TEXT[10:])
    await append(served, location, 10, TEXT[10:])
    async with served.admin.get("/metrics") as response:
        figures = await response.text()
    assert 'appliance_uploads_total{type="ANY"} 1.0' in figures
    assert 'code="offset_mismatch"} 1.0' in figures


# --- clients --------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_recipe_for_curl(serve: Serve, tmp_path: Path) -> None:
    served = await serve()
    page = (Path(__file__).parents[2] / "docs/clients.md").read_text(encoding="utf-8")
    recipe = re.search(r"## curl, with the IETF.*?```sh\n(.*?)```", page, re.S)
    assert recipe is not None
    script = recipe[1].replace("http://localhost:8080", served.url).replace("holiday.mp4", "a.txt")
    (tmp_path / "a.txt").write_bytes(TEXT)
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, cwd=tmp_path, env={**os.environ, "KEY": ADMIN_KEY},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(20):
        told, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert json.loads(told)["sha256"] == hashlib.sha256(TEXT).hexdigest()
