"""/files as tus clients use it, where it is ours: jobs, owners, take-over, CORS, bad input.

What the text of tus 1.0.0 requires of any server is in tests/tus/test_protocol.py.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from appliance.storage import local_files
from tests.clocks import MovedClock
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.tus.peers import OCTETS, TEXT, Peer, metadata
from tests.web.conftest import Join
from tests.web.wire import (
    Answer,
    Wire,
    exchange,
    files_of,
    in_pieces,
    is_refusal,
    services_of,
    until,
    wire,
)

HALF = len(TEXT) // 2
SHA256 = hashlib.sha256(TEXT).hexdigest()
TUS = "Tus-Resumable: 1.0.0"


def tus(served: Served, http: aiohttp.ClientSession | None = None) -> Peer:
    return Peer("appliance", f"{served.url}/files", http or served.admin)


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


async def job_of(served: Served, answer: Answer) -> Any:
    """The job that an answer names, held to what it must be."""
    job_id = answer.headers["Upload-Job-Id"]
    assert answer.headers["Link"] == f'</status/{job_id}>; rel="monitor"'
    job = await served.json("GET", f"/status/{job_id}")
    assert (job["sha256"], job["sizeBytes"]) == (SHA256, len(TEXT))
    async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
        assert await response.read() == TEXT
    return job


async def job_ids(served: Served) -> list[str]:
    return [job["jobId"] for job in (await served.json("GET", "/jobs"))["jobs"]]


# --- the job ---------------------------------------------------------------------------------


async def test_with_the_last_byte_there_is_a_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    first = await peer.patch(url, 0, TEXT[:HALF])
    assert "Upload-Job-Id" not in first.headers
    assert "Upload-Job-Id" not in (await peer.head(url)).headers
    last = await peer.patch(url, HALF, TEXT[HALF:])
    job = await job_of(served, last)
    assert job["jobId"] == id_of(url)
    assert await job_of(served, await peer.head(url)) == job


async def test_with_the_last_byte_in_the_creation_too(serve: Serve) -> None:
    served = await serve()
    answer = await tus(served).send(
        "POST", tus(served).url, TEXT, upload_length=len(TEXT), content_type=OCTETS
    )
    assert answer.status == 201
    await job_of(served, answer)


async def test_a_length_that_is_told_last_ends_the_upload(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create(None)
    await peer.patch(url, 0, in_pieces([TEXT[:HALF]]))
    assert "Upload-Job-Id" not in (await peer.patch(url, HALF, TEXT[HALF:])).headers
    await job_of(served, await peer.patch(url, len(TEXT), b"", upload_length=len(TEXT)))


async def test_parts_that_came_in_parallel_become_one_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    size = len(TEXT) // 4
    pieces = [TEXT[n : n + size] for n in range(0, len(TEXT), size)]
    urls = await asyncio.gather(*(peer.create(len(p), upload_concat="partial") for p in pieces))
    sent = [peer.patch(url, 0, piece) for url, piece in zip(urls, pieces, strict=True)]
    for answer in await asyncio.gather(*sent):
        assert answer.status == 204
        assert "Upload-Job-Id" not in answer.headers
        assert "Upload-Expires" in answer.headers  # unless it is joined
    assert (await served.json("GET", "/jobs"))["jobs"] == []
    final = await peer.send(
        "POST",
        peer.url,
        upload_concat=f"final;{' '.join(urls)}",
        upload_metadata=metadata(filename="joined.txt"),
    )
    job = await job_of(served, final)
    assert job["filename"] == "joined.txt"
    assert await job_of(served, await peer.head(peer.location(final))) == job
    assert not [name for name in files_of(served) if name.startswith("partial/")]


async def test_the_metadata_say_what_is_wanted(serve: Serve) -> None:
    served = await serve()
    told = metadata(
        filename="Übersicht.txt",
        filetype="text/plain",
        preset="default",
        priority="8",
        metadata='{"project": 7}',
        relativePath="a/b",
    )
    peer = tus(served)
    url = await peer.create(upload_metadata=told + ",is_confidential")
    job = await job_of(served, await peer.patch(url, 0, TEXT))
    assert (job["filename"], job["contentType"]) == ("Übersicht.txt", "text/plain")
    assert (job["preset"], job["priority"]) == ("default", 8)
    assert job["metadata"] == {"project": 7, "relativePath": "a/b", "is_confidential": ""}


async def test_uppy_s_names_of_metadata_are_understood(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create(upload_metadata=metadata(name="b.txt", type="text/plain"))
    job = await job_of(served, await peer.patch(url, 0, TEXT))
    assert job["filename"] == "b.txt"
    assert job["metadata"] == {}


async def test_a_creation_with_the_key_of_an_earlier_one_is_that_one(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    told = {"upload_length": len(TEXT), "idempotency_key": '"once"'}
    first = await peer.send("POST", peer.url, **told)
    url = peer.location(first)
    await peer.patch(url, 0, TEXT[:10])
    again = await peer.send("POST", peer.url, **told)
    assert (again.status, peer.location(again)) == (201, url)
    assert await peer.offset(url) == 10
    other = await peer.send("POST", peer.url, **told, upload_metadata=metadata(filename="b.txt"))
    is_refusal(other, 409, "idempotency_conflict")


async def test_a_creation_with_bytes_and_an_earlier_key_tells_how_far_that_one_is(
    serve: Serve,
) -> None:
    served = await serve()
    peer = tus(served)
    told = {"upload_length": len(TEXT), "idempotency_key": "once", "content_type": OCTETS}
    first = await peer.send("POST", peer.url, TEXT[:10], **told)
    again = await peer.send("POST", peer.url, TEXT[:10], **told)
    assert (again.status, peer.location(again)) == (201, peer.location(first))
    assert first.headers["Upload-Offset"] == again.headers["Upload-Offset"] == "10"
    done = await peer.patch(peer.location(first), 10, TEXT[10:])
    again = await peer.send("POST", peer.url, TEXT[:10], **told)
    assert again.headers["Upload-Job-Id"] == done.headers["Upload-Job-Id"]


async def test_many_creations_at_once_with_one_key_make_one_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    told = {"upload_length": len(TEXT), "idempotency_key": "once", "content_type": OCTETS}
    await asyncio.gather(*(peer.send("POST", peer.url, TEXT, **told) for _ in range(8)))
    last = await peer.send("POST", peer.url, TEXT, **told)
    assert last.headers["Upload-Offset"] == str(len(TEXT))
    assert await job_ids(served) == [last.headers["Upload-Job-Id"]]


async def test_many_joins_at_once_with_one_key_make_one_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    part = await peer.create(10, upload_concat="partial")
    await peer.patch(part, 0, TEXT[:10])
    told = {"upload_concat": f"final;{part}", "idempotency_key": "once"}
    answers = await asyncio.gather(*(peer.send("POST", peer.url, **told) for _ in range(8)))
    answers.append(await peer.send("POST", peer.url, **told))  # its part is gone by now
    (job_id,) = await job_ids(served)
    assert {(answer.status, answer.headers["Upload-Job-Id"]) for answer in answers} == {
        (201, job_id)
    }


async def test_what_came_and_what_was_refused_is_counted(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 5, TEXT)
    await peer.patch(url, 0, TEXT[:HALF])
    await peer.patch(url, HALF, TEXT[HALF:])
    await peer.head(url)
    async with served.admin.get("/metrics") as response:
        told = await response.text()
    assert 'appliance_uploads_total{type="ANY"} 1.0' in told
    assert f"appliance_upload_bytes_total {float(len(TEXT))}" in told
    assert 'appliance_uploads_refused_total{code="offset_mismatch"} 1.0' in told


# --- bad input: a clear answer each ----------------------------------------------------------


async def test_an_upload_has_at_least_one_byte(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    answer = await peer.send("POST", peer.url, upload_length=0)
    is_refusal(answer, 400, "empty_file")


BAD_CREATIONS = [
    ({}, 400, "bad_request"),
    ({"upload_length": "-1"}, 400, "bad_request"),
    ({"upload_length": "9" * 19}, 400, "bad_request"),
    ({"upload_length": 1_000_001}, 413, "file_too_large"),
    ({"upload_length": 5, "upload_metadata": "filename ???"}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": "filename /w=="}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": metadata(preset="none")}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": metadata(priority="11")}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": metadata(metadata="[]")}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": metadata(filename="x" * 16_000)}, 400, "bad_request"),
    ({"upload_length": 5, "upload_metadata": metadata(filename="a.exe")}, 415, "file_type_refused"),
    ({"upload_length": 5, "upload_concat": "whole"}, 400, "bad_request"),
    ({"upload_concat": "final;/files/01AAAAAAAAAAAAAAAAAAAAAAAA"}, 404, "not_found"),
    ({"upload_concat": "final;/files/../etc"}, 400, "bad_request"),
    ({"upload_length": 5, "repr_digest": "sha-256=:x:"}, 400, "bad_request"),
]


@pytest.mark.parametrize(("fields", "status", "code"), BAD_CREATIONS)
async def test_a_bad_creation_is_refused_and_leaves_nothing(
    serve: Serve, fields: dict[str, Any], status: int, code: str
) -> None:
    served = await serve(max_upload_bytes="1000000")
    peer = tus(served)
    is_refusal(await peer.send("POST", peer.url, **fields), status, code)
    assert files_of(served) == set()


@pytest.mark.parametrize(
    ("fields", "body", "status", "code"),
    [
        ({"content_type": "text/plain"}, TEXT, 415, "content_type_refused"),
        ({"content_encoding": "gzip"}, TEXT, 415, "content_encoding_refused"),
        ({"upload_length": 5}, TEXT, 413, "length_exceeded"),
        ({"upload_checksum": "crc32 AAAA"}, TEXT, 400, "bad_request"),
        ({"upload_checksum": "sha1 AAAA"}, TEXT, 460, "checksum_mismatch"),
        ({}, b"\x7fELF" + bytes(len(TEXT) - 4), 415, "file_type_refused"),
        ({"upload_metadata": metadata(filename="a.png")}, TEXT, 415, "file_type_mismatch"),
    ],
)
async def test_a_bad_creation_with_bytes_leaves_no_upload_that_nobody_knows(
    serve: Serve, fields: dict[str, Any], body: bytes, status: int, code: str
) -> None:
    """The client has not been told where it is."""
    served = await serve(max_open_uploads="1")
    peer = tus(served)
    told = {"upload_length": len(TEXT), "content_type": OCTETS, **fields}
    is_refusal(await peer.send("POST", peer.url, body, **told), status, code)
    await until(lambda: not files_of(served))
    await peer.create()  # the only one that is allowed


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"upload_offset": 9}, 409, "offset_mismatch"),
        ({"upload_offset": "-1"}, 400, "bad_request"),
        ({"upload_offset": "9" * 19}, 400, "bad_request"),
        ({"upload_length": len(TEXT) + 1}, 400, "length_mismatch"),
        ({"upload_length": "-1"}, 400, "bad_request"),
        ({"content_type": "application/partial-upload"}, 415, "content_type_refused"),
        ({"content_encoding": "gzip"}, 415, "content_encoding_refused"),
        ({"tus_resumable": "0.2.2"}, 412, "tus_version_refused"),
        ({"upload_checksum": "sha512 AAAA"}, 400, "bad_request"),
        ({"upload_checksum": "md5 AAAA"}, 460, "checksum_mismatch"),
        ({"trailer": "Upload-Checksum"}, 400, "bad_request"),
    ],
)
async def test_a_bad_patch_is_refused_and_loses_nothing(
    serve: Serve, fields: dict[str, Any], status: int, code: str
) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:10])
    version = str(fields.get("tus_resumable", "1.0.0"))
    told = {"content_type": OCTETS, "upload_offset": 10} | fields
    told.pop("tus_resumable", None)
    answer = await peer.send("PATCH", url, TEXT[10:], version, **told)
    is_refusal(answer, status, code)
    if status == 409:
        assert answer.headers["Upload-Offset"] == "10"
    assert await peer.offset(url) == 10
    await job_of(served, await peer.patch(url, 10, TEXT[10:]))


@pytest.mark.parametrize("told", ["by its length", "not at all"])
async def test_a_patch_past_the_length_loses_nothing(serve: Serve, told: str) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:10])
    body: Any = TEXT if told == "by its length" else in_pieces([TEXT[10:], b"more", b"and more"])
    is_refusal(await peer.patch(url, 10, body), 413, "length_exceeded")
    offset = await peer.offset(url)
    assert offset >= 10
    await job_of(served, await peer.head(url) if offset == len(TEXT) else
                 await peer.patch(url, offset, TEXT[offset:]))  # fmt: skip


async def test_a_patch_after_the_last_byte_is_409_with_the_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT)
    for offset in (0, len(TEXT)):
        problem = is_refusal(await peer.patch(url, offset, b"x"), 409, "upload_completed")
        assert problem["jobId"] == id_of(url)
    part = await peer.create(10, upload_concat="partial")
    await peer.patch(part, 0, TEXT[:10])
    problem = is_refusal(await peer.patch(part, 10, b"x"), 409, "upload_completed")
    assert "jobId" not in problem


async def test_what_turns_out_bad_at_the_end_is_refused_and_gone(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create(upload_metadata=metadata(filename="a.png"))
    refused = 0
    for offset in range(0, len(TEXT), 1000):
        answer = await peer.patch(url, offset, TEXT[offset : offset + 1000])
        refused += answer.status == 415
        if answer.status == 415:
            break
    assert refused == 1
    problem = is_refusal(await peer.patch(url, 0, TEXT), 410, "upload_gone")
    assert problem["reason"] == "file_type_mismatch"
    assert (await peer.head(url)).status == 410
    assert files_of(served) == set()


async def test_what_is_not_there_is_404(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    for name in ("01AAAAAAAAAAAAAAAAAAAAAAAA", "..%2F..%2Fetc", "x" * 300):
        url = f"{peer.url}/{name}"
        is_refusal(await peer.patch(url, 0, TEXT), 404, "not_found")
        is_refusal(await peer.send("DELETE", url), 404, "not_found")
        assert (await peer.head(url)).status == 404


async def test_what_has_expired_is_410(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve(upload_expiry_s="100")
    peer = tus(served)
    clock = MovedClock()
    uploads = services_of(served).uploads
    assert uploads is not None
    monkeypatch.setattr(uploads, "_clock", clock)
    monkeypatch.setattr(uploads._completion, "_clock", clock)
    url = await peer.create()
    part = await peer.create(10, upload_concat="partial")
    await peer.patch(part, 0, TEXT[:10])
    await peer.patch(url, 0, TEXT[:10])
    clock.pass_time(99)
    await uploads.expire(limit=10)
    assert await peer.offset(url) == await peer.offset(part) == 10
    clock.pass_time(2)
    await uploads.expire(limit=10)
    is_refusal(await peer.patch(url, 10, TEXT[10:]), 410, "upload_gone")
    answer = await peer.head(url)
    assert answer.status == 410
    assert "Upload-Offset" not in answer.headers
    assert (await peer.head(part)).status == 404
    assert files_of(served) == set()


async def test_only_three_methods_are_meant_by_a_post_to_an_upload(serve: Serve) -> None:
    served = await serve()
    url = await tus(served).create()
    for fields in ({}, {"x_http_method_override": "PUT"}):
        answer = await tus(served).send("POST", url, **fields)
        is_refusal(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "DELETE,HEAD,OPTIONS,PATCH"


# --- room ------------------------------------------------------------------------------------


async def test_a_full_disk_is_507_before_a_byte_is_read(serve: Serve) -> None:
    served = await serve(reserve_bytes="900TiB")
    peer = tus(served)
    is_refusal(await peer.send("POST", peer.url, upload_length=5), 507, "storage_full")


async def test_a_disk_that_fills_up_is_507_and_what_was_told_stays_true(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:10])

    def full(descriptor: int, data: bytes | memoryview) -> None:
        os.write(descriptor, data[: len(data) // 2])  # the kernel writes what has room
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(local_files, "write_all", full)
        is_refusal(await peer.patch(url, 10, TEXT[10:]), 507, "storage_full")
        assert await peer.offset(url) == 10
        told = {"upload_length": len(TEXT), "content_type": OCTETS}
        answer = await peer.send("POST", peer.url, TEXT, **told)
        is_refusal(answer, 507, "storage_full")
    await job_of(served, await peer.patch(url, 10, TEXT[10:]))


async def test_a_quota_counts_what_uploads_may_come_to(serve: Serve, join: Join) -> None:
    served = await serve(quota_bytes="10000", max_open_uploads="2")
    ada, bob = await join(served), await join(served)
    peer = tus(served, ada.http)
    first = await peer.create(6000)
    is_refusal(await peer.send("POST", peer.url, upload_length=5000), 413, "quota_exceeded")
    await peer.create(3000)
    is_refusal(await peer.send("POST", peer.url, upload_length=10), 429, "too_many_open_uploads")
    await tus(served, bob.http).create(6000)
    assert (await peer.send("DELETE", first)).status == 204
    await peer.create(6000)


# --- whose it is -----------------------------------------------------------------------------


async def test_an_upload_is_its_owner_s_alone(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    peer = tus(served, ada.http)
    url = await peer.create()
    part = await peer.create(10, upload_concat="partial")
    await peer.patch(part, 0, TEXT[:10])
    for other in (tus(served, bob.http), tus(served)):  # another user, and the admin
        assert (await other.head(url)).status == 404
        is_refusal(await other.patch(url, 0, TEXT), 404, "not_found")
        is_refusal(await other.send("DELETE", url), 404, "not_found")
        own = await other.create(5, upload_concat="partial")
        await other.patch(own, 0, b"words")
        answer = await other.send("POST", other.url, upload_concat=f"final;{own} {part}")
        is_refusal(answer, 404, "not_found")
    assert await peer.offset(url) == 0
    anonymous = tus(served, served.anonymous)
    is_refusal(await anonymous.send("POST", peer.url, upload_length=5), 401, "not_signed_in")
    assert (await anonymous.head(url)).status == 401
    await peer.patch(url, 0, TEXT)
    is_refusal(await tus(served, bob.http).send("DELETE", url), 404, "not_found")
    assert (await peer.head(url)).status == 200


async def test_terminating_what_is_complete_deletes_the_job(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT)
    assert (await peer.send("DELETE", url)).status == 204
    assert (await peer.head(url)).status == 404
    assert (await served.json("GET", "/jobs"))["jobs"] == []
    await until(lambda: not files_of(served))


async def test_the_other_protocol_leaves_the_job_alone(serve: Serve) -> None:
    """To it a complete upload is not what came of it."""
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    answer = await peer.patch(url, 0, TEXT)
    assert (await peer.send("DELETE", url, version=None)).status == 409
    await job_of(served, answer)


# --- one at a time, the newer first ----------------------------------------------------------


async def stalled(connection: Wire, url: str, data: bytes, *fields: str) -> None:
    """Begin a PATCH of the whole, send `data`, and fall silent."""
    line = f"PATCH {urlsplit(url).path}"
    length = f"Content-Length: {len(TEXT)}"
    await connection.head(line, TUS, f"Content-Type: {OCTETS}", "Upload-Offset: 0", length, *fields)
    await connection.send(data)


async def has_written(served: Served, url: str, size: int) -> None:
    path = served.data_dir / "files/partial" / id_of(url)
    await until(lambda: path.stat().st_size == size)


async def test_a_head_takes_over_from_a_dead_connection_within_2_s(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    async with wire(served) as dead:
        await stalled(dead, url, TEXT[:HALF])
        await has_written(served, url, HALF)
        began = time.monotonic()
        assert await peer.offset(url) == HALF
        last = await peer.patch(url, HALF, TEXT[HALF:])
        assert time.monotonic() - began < 2
        await job_of(served, last)
        is_refusal(await dead.answer(), 409, "upload_taken_over")


async def test_a_patch_takes_over_from_a_dead_connection_within_2_s(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    async with wire(served) as dead:
        await stalled(dead, url, TEXT[:HALF])
        await has_written(served, url, HALF)
        began = time.monotonic()
        answer = await peer.patch(url, 0, TEXT)  # it does not know what has come
        is_refusal(answer, 409, "offset_mismatch")
        assert answer.headers["Upload-Offset"] == str(HALF)
        last = await peer.patch(url, HALF, TEXT[HALF:])
        assert time.monotonic() - began < 2
        await job_of(served, last)


async def test_a_delete_takes_over_from_a_dead_connection_within_2_s(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    async with wire(served) as dead:
        await stalled(dead, url, TEXT[:HALF])
        await has_written(served, url, HALF)
        began = time.monotonic()
        assert (await peer.send("DELETE", url)).status == 204
        assert time.monotonic() - began < 2
    await until(lambda: not files_of(served))


async def test_what_a_dead_connection_could_not_prove_is_not_kept(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    digest = base64.b64encode(hashlib.sha1(TEXT).digest()).decode()
    async with wire(served) as dead:
        await stalled(dead, url, TEXT[:HALF], f"Upload-Checksum: sha1 {digest}")
        await has_written(served, url, HALF)
        assert await peer.offset(url) == 0
        await job_of(served, await peer.patch(url, 0, TEXT, upload_checksum=f"sha1 {digest}"))


async def test_two_patches_at_once_never_mix(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    sent = (peer.patch(url, 0, in_pieces([TEXT[:100], TEXT[100:]])) for _ in range(8))
    answers = await asyncio.gather(*sent)
    (done,) = [answer for answer in answers if answer.status == 204]
    await job_of(served, done)
    for answer in answers:
        if answer is not done:
            assert answer.status == 409
            assert answer.json()["code"] in (
                "offset_mismatch", "upload_completed", "upload_taken_over",
            )  # fmt: skip


# --- both protocols on one upload ------------------------------------------------------------

IETF = "application/partial-upload"


async def test_what_was_begun_in_tus_is_finished_in_the_ietf_s(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:HALF])
    told = {"upload_offset": HALF, "upload_complete": "?1", "content_type": IETF}
    answer = await peer.send("PATCH", url, TEXT[HALF:], None, **told)
    assert answer.status == 202
    await job_of(served, answer)
    await job_of(served, await peer.head(url))


@pytest.mark.parametrize("length", [None, len(TEXT)])
async def test_what_was_begun_in_the_ietf_s_is_finished_in_tus(
    serve: Serve, length: int | None
) -> None:
    served = await serve()
    peer = tus(served)
    told: dict[str, Any] = {"upload_complete": "?0", "content_type": "text/plain"}
    if length is not None:
        told["upload_length"] = length
    answer = await peer.send("POST", peer.url, TEXT[:HALF], None, **told)
    assert answer.status == 201
    url = peer.location(answer)
    head = await peer.head(url)
    assert head.headers["Upload-Offset"] == str(HALF)
    assert ("Upload-Length" in head.headers) == (length is not None)
    last = await peer.patch(url, HALF, TEXT[HALF:], upload_length=len(TEXT))
    await job_of(served, last)
    answer = await peer.send("HEAD", url, version=None)
    assert answer.headers["Upload-Complete"] == "?1"


async def test_an_upload_whose_length_was_never_told_has_one_when_complete(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    told = {"upload_complete": "?0", "content_type": "text/plain"}
    answer = await peer.send("POST", peer.url, TEXT[:HALF], None, **told)
    url = peer.location(answer)
    told = {"upload_offset": HALF, "upload_complete": "?1", "content_type": IETF}
    body = in_pieces([TEXT[HALF:]])
    answer = await peer.send("PATCH", url, body, None, **told)
    assert answer.status == 202
    head = await peer.head(url)
    assert head.headers["Upload-Length"] == head.headers["Upload-Offset"] == str(len(TEXT))
    assert "Upload-Defer-Length" not in head.headers


# --- pages of other sites --------------------------------------------------------------------

ELSEWHERE = "https://elsewhere.example"


async def test_a_browser_s_preflight_is_answered(serve: Serve) -> None:
    served = await serve()
    peer = tus(served, served.anonymous)
    for url in (peer.url, f"{peer.url}/01AAAAAAAAAAAAAAAAAAAAAAAA"):
        answer = await peer.send(
            "OPTIONS",
            url,
            version=None,
            origin=ELSEWHERE,
            access_control_request_method="PATCH",
            access_control_request_headers="authorization,content-type,tus-resumable,upload-offset",
        )
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        methods = answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert {"POST", "HEAD", "PATCH", "DELETE"} <= set(methods)
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {
            "authorization", "content-type", "tus-resumable", "upload-offset", "upload-length",
            "upload-metadata", "upload-checksum", "upload-concat", "upload-defer-length",
            "x-http-method-override", "x-requested-with", "x-request-id",
        } <= set(allowed)  # fmt: skip


async def test_a_page_elsewhere_may_read_the_answers_and_the_refusals(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    created = await peer.send("POST", peer.url, upload_length=len(TEXT), origin=ELSEWHERE)
    url = peer.location(created)
    answers = [
        created,
        await peer.patch(url, 9, TEXT, origin=ELSEWHERE),  # 409
        await peer.patch(url, 0, TEXT, origin=ELSEWHERE),
        await peer.send("HEAD", url, origin=ELSEWHERE),
        await peer.send("HEAD", f"{url}x", origin=ELSEWHERE),  # 404
        await tus(served, served.anonymous).send("HEAD", url, origin=ELSEWHERE),  # 401
    ]
    assert [answer.status for answer in answers] == [201, 409, 204, 200, 404, 401]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Job-Id"} <= set(exposed)


async def test_a_session_s_cookie_does_nothing_for_a_page_elsewhere(serve: Serve) -> None:
    """Nor does a HEAD change anything by way of X-HTTP-Method-Override."""
    served = await serve()
    url = await tus(served).create()
    form = {"key": ADMIN_KEY}
    cookies = aiohttp.CookieJar(unsafe=True)  # of an address without a name too
    async with aiohttp.ClientSession(served.url, cookie_jar=cookies) as browser:
        headers = {"Origin": served.url}
        async with browser.post("/signin", data=form, headers=headers) as response:
            assert response.status < 400, await response.text()
        peer = tus(served, browser)
        assert (await peer.send("HEAD", url)).status == 200  # signed in
        for method, fields in (
            ("POST", {"origin": ELSEWHERE, "x_http_method_override": "DELETE"}),
            ("DELETE", {"origin": ELSEWHERE}),
            ("HEAD", {"origin": ELSEWHERE, "x_http_method_override": "DELETE"}),
            ("HEAD", {"x_http_method_override": "DELETE"}),
        ):
            answer = await peer.send(method, url, **fields)
            assert answer.status == 403
        assert await peer.offset(url) == 0


# --- what the server can, and when -----------------------------------------------------------


async def test_a_store_that_cannot_append_announces_nothing(serve: Serve) -> None:
    served = await serve()
    object.__setattr__(services_of(served), "uploads", None)  # it is frozen
    peer = tus(served)
    answer = await peer.options()
    assert answer.status == 204
    assert not [name for name in answer.headers if name in ("Tus-Extension", "Tus-Version")]
    answer = await peer.send("POST", peer.url, upload_length=5)
    is_refusal(answer, 501, "resumption_unsupported")


async def test_a_server_that_stops_takes_no_more_bytes(serve: Serve) -> None:
    served = await serve()
    peer = tus(served)
    url = await peer.create()
    services_of(served).stopping.set()
    answer = await peer.patch(url, 0, TEXT)
    is_refusal(answer, 503, "shutting_down")
    assert answer.headers["Retry-After"]
    services_of(served).stopping.clear()
    assert await peer.offset(url) == 0


async def test_a_creation_that_is_refused_never_asks_for_its_bytes(serve: Serve) -> None:
    """Creation With Upload: `Expect: 100-continue` gives the client early feedback."""
    served = await serve(max_upload_bytes="10000")
    fields = [TUS, f"Content-Type: {OCTETS}", "Expect: 100-continue"]
    answer = await exchange(
        served, "POST /files", *fields, "Upload-Length: 10001", "Content-Length: 10001"
    )
    is_refusal(answer, 413, "file_too_large")
    async with wire(served) as connection:
        size = len(TEXT)
        await connection.head(
            "POST /files", *fields, f"Upload-Length: {size}", f"Content-Length: {size}"
        )
        assert (await connection.answer()).status == 100
        await connection.send(TEXT)
        answer = await connection.answer()
        assert answer.status == 201
        await job_of(served, answer)
