"""`Idempotency-Key` and `?dedupe=1`: the same again makes nothing new."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from appliance.database import ownership
from appliance.maintenance.sweeper import REMEMBER_S, Sweeper
from appliance.metrics import Metrics
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.test_partial_upload import DRAFT, PART, WHOLE, append, length, original, partial
from tests.web.test_partial_upload import sha256 as digest_field
from tests.web.wire import (
    claim,
    complete,
    exchange,
    file_part,
    files_of,
    form,
    is_refusal,
    post_form,
    services_of,
    until,
    upload,
    wire,
)

TEXT = b"A text of some words, again and again. " * 500


async def send(
    served: Served, key: str | None, data: bytes = TEXT, *, by: Any = None, **query: str
) -> tuple[int, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    params = {"filename": "a.txt", **query}
    session = by or served.admin
    async with session.post("/upload", params=params, data=data, headers=headers) as response:
        return response.status, await response.json(content_type=None)


def conflict(answer: tuple[int, Any]) -> bool:
    return (answer[0], answer[1].get("code")) == (409, "idempotency_conflict")


async def jobs_of(served: Served) -> list[Any]:
    found = await served.json("GET", "/jobs?limit=200")
    return list(found["jobs"])


async def completed(served: Served, by: Any = None) -> Any:
    job = await upload(served, TEXT, by=by)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    return job


# --- Idempotency-Key --------------------------------------------------------------------------


async def test_many_repeats_at_once_give_one_job(serve: Serve) -> None:
    served = await serve()
    answers = await asyncio.gather(*(send(served, "one") for _ in range(20)))
    assert {status for status, _ in answers} == {202}
    ids = {job["jobId"] for _, job in answers}
    assert len(ids) == 1
    assert len(await jobs_of(served)) == 1
    await until(lambda: files_of(served) == {f"raw/{next(iter(ids))}/a.txt"})
    usage = await services_of(served).database.read(ownership.usage(answers[0][1]["owner"]))
    assert (usage.originals, usage.kept_bytes) == (1, len(TEXT))
    async with served.admin.get("/metrics") as response:
        assert 'appliance_uploads_total{type="ANY"} 1.0' in await response.text()


async def test_a_repeat_is_answered_as_the_job_is_now(serve: Serve) -> None:
    served = await serve()
    _, job = await send(served, "one")
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    status, again = await send(served, "one")
    assert (status, again["jobId"], again["status"]) == (202, job["jobId"], "COMPLETED")


async def test_another_content_is_a_conflict(serve: Serve) -> None:
    served = await serve()
    _, job = await send(served, "one")
    for data, query in (
        (TEXT + b"x", {}),
        (TEXT, {"filename": "b.txt"}),
        (TEXT, {"priority": "9"}),
        (TEXT, {"metadata": '{"a": 1}'}),
    ):
        answer = await send(served, "one", data, **query)
        assert conflict(answer)
        assert answer[1]["jobIds"] == [job["jobId"]]
    assert len(await jobs_of(served)) == 1
    await until(lambda: files_of(served) == {f"raw/{job['jobId']}/a.txt"})


async def test_many_at_once_with_other_contents_give_one_job(serve: Serve) -> None:
    served = await serve()
    sent = [send(served, "one", TEXT + bytes([65 + n % 2])) for n in range(10)]
    answers = await asyncio.gather(*sent)
    taken = {job["jobId"] for status, job in answers if status == 202}
    assert len(taken) == 1
    assert all(conflict(answer) for answer in answers if answer[0] != 202)
    assert sum(conflict(answer) for answer in answers) == 5
    assert len(await jobs_of(served)) == 1
    await until(lambda: len(files_of(served)) == 1)


async def test_with_a_digest_a_repeat_is_answered_before_the_body(serve: Serve) -> None:
    served = await serve()
    _, job = await send(served, "one")
    headers = [length(TEXT), "Idempotency-Key: one", "Expect: 100-continue"]
    digest = f"Repr-Digest: {digest_field(TEXT)}"
    answer = await exchange(served, "PUT /upload/a.txt", *headers, digest)
    assert (answer.status, answer.json()["jobId"]) == (202, job["jobId"])
    assert answer.headers["Connection"] == "close"
    other = f"Repr-Digest: {digest_field(b'x')}"
    is_refusal(
        await exchange(served, "PUT /upload/a.txt", *headers, other), 409, "idempotency_conflict"
    )


async def test_a_deleted_job_is_not_made_again(serve: Serve) -> None:
    served = await serve()
    job = await completed(served)
    _, keyed = await send(served, "one")
    assert keyed["jobId"] != job["jobId"]
    await claim(served, keyed["jobId"])
    await complete(served, keyed["jobId"])
    acts = services_of(served).acts
    await acts.delete(keyed["jobId"], actor="test", audited=False)
    answer = await send(served, "one")
    assert conflict(answer)
    assert "deleted" in answer[1]["detail"]
    assert len(await jobs_of(served)) == 1


async def test_a_key_is_of_its_owner(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, eve = await join(served), await join(served)
    _, first = await send(served, "one", by=ada.http)
    status, second = await send(served, "one", TEXT + b"x", by=eve.http)
    assert status == 202
    assert first["jobId"] != second["jobId"]
    assert (await send(served, "one", by=ada.http))[1]["jobId"] == first["jobId"]


async def test_a_refused_upload_leaves_its_key_free(serve: Serve) -> None:
    served = await serve()
    status, _ = await send(served, "one", b"\x7fELF" + bytes(100))
    assert status == 415
    assert (await send(served, "one"))[0] == 202


async def test_the_forms_of_a_key(serve: Serve) -> None:
    served = await serve()
    _, job = await send(served, "a-1")
    for same in ('"a-1"', " a-1 "):
        assert (await send(served, same))[1]["jobId"] == job["jobId"]
    ids = {job["jobId"]}
    for good in ('"a 1"', r'"a\"1"', "x" * 255, '"' + "x" * 254 + '"', "a:1/2=3"):
        status, other = await send(served, good)
        assert status == 202, good
        ids.add(other["jobId"])
    assert len(ids) == 6
    for bad in ("", '""', '"open', "two words", "x" * 256, "a,b", "ä", "a;b=1"):
        status, document = await send(served, bad)
        assert (status, document["code"]) == (400, "bad_request"), bad
    answer = await exchange(
        served, "PUT /upload/a.txt", length(TEXT), "Idempotency-Key: a", "Idempotency-Key: b",
        body=TEXT,
    )  # fmt: skip
    is_refusal(answer, 400, "bad_request")


async def test_a_form_of_several_files(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.txt", TEXT), file_part("b.txt", b"words"))
    headers = {"Content-Type": "multipart/form-data; boundary=boundary-of-the-tests",
               "Idempotency-Key": "one"}  # fmt: skip
    seen = []
    for _ in range(2):
        async with served.admin.post("/upload", data=body, headers=headers) as response:
            assert response.status == 202
            seen.append([job["jobId"] for job in (await response.json())["jobs"]])
    assert seen[0] == seen[1]
    other = form(file_part("b.txt", b"words"), file_part("a.txt", TEXT))
    async with served.admin.post("/upload", data=other, headers=headers) as response:
        assert response.status == 409
    assert (await post_form(served, body)).json()["jobs"][0]["jobId"] != seen[0][0]


async def test_a_key_is_known_for_seven_days(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    assert shared.uploads is not None
    _, job = await send(served, "one")
    clock = MovedClock()
    sweeper = Sweeper(
        database=shared.database, uploads=shared.uploads, metrics=Metrics(), clock=clock
    )
    assert REMEMBER_S == 7 * 24 * 3600
    clock.wall = shared.clock.now() + REMEMBER_S - 60
    assert (await sweeper.run_once())["idempotency_keys"] == 0
    assert (await send(served, "one"))[1]["jobId"] == job["jobId"]
    clock.pass_time(120)
    assert (await sweeper.run_once())["idempotency_keys"] == 1
    assert (await send(served, "one"))[1]["jobId"] != job["jobId"]


# --- ... of uploads over several requests ---------------------------------------------------------


async def test_an_upload_is_begun_once(serve: Serve) -> None:
    served = await serve()
    headers = [PART, "Content-Length: 0", "Idempotency-Key: one", f"Upload-Length: {len(TEXT)}"]
    line = "POST /files?filename=a.txt"
    answers = await asyncio.gather(*(exchange(served, line, *headers) for _ in range(20)))
    assert {answer.status for answer in answers} == {201}
    locations = {answer.headers["Location"] for answer in answers}
    assert len(locations) == 1
    assert len(files_of(served)) == 1
    location = locations.pop()
    await append(served, location, 0, TEXT[:100], PART)
    again = await exchange(served, line, *headers)
    assert (again.status, again.headers["Location"]) == (201, location)
    assert again.headers["Upload-Offset"] == "100"
    other = await exchange(served, "POST /files?filename=b.txt", *headers)
    is_refusal(other, 409, "idempotency_conflict")
    assert (await append(served, location, 100, TEXT[100:])).status == 202
    again = await exchange(served, line, *headers)
    assert (again.status, again.json()["jobId"]) == (202, location.rpartition("/")[2])
    assert (await exchange(served, f"DELETE {location}")).status == 409


async def test_a_repeat_goes_on_where_the_first_broke_off(serve: Serve) -> None:
    served = await serve()
    headers = [WHOLE, length(TEXT), "Idempotency-Key: one"]
    line = "POST /upload?filename=a.txt"
    async with wire(served) as connection:
        await connection.head(line, DRAFT, *headers)
        location = (await connection.answer()).headers["Location"]
        await connection.send(TEXT[:5000])
        await until(lambda: partial(served, location).stat().st_size == 5000)
        connection.abort()
    answer = await exchange(served, line, *headers, body=TEXT)
    assert (answer.status, answer.headers["Upload-Complete"]) == (202, "?1")
    assert answer.json()["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert original(served, location) == TEXT
    again = await exchange(served, line, *headers, "Expect: 100-continue")
    assert (again.status, again.json()["jobId"]) == (202, answer.json()["jobId"])
    assert len(await jobs_of(served)) == 1


async def test_many_whole_uploads_at_once_with_one_key_give_one_job(serve: Serve) -> None:
    served = await serve()
    headers = [WHOLE, length(TEXT), "Idempotency-Key: one"]
    line = "POST /upload?filename=a.txt"
    answers = await asyncio.gather(
        *(exchange(served, line, *headers, body=TEXT) for _ in range(10))
    )
    taken = [answer for answer in answers if answer.status == 202]
    assert taken
    assert len({answer.json()["jobId"] for answer in taken}) == 1
    assert {answer.status for answer in answers} <= {202, 400, 409}
    assert len(await jobs_of(served)) == 1


async def test_what_has_ended_is_not_begun_again_by_its_key(serve: Serve) -> None:
    served = await serve()
    headers = [PART, "Content-Length: 0", "Idempotency-Key: one"]
    location = (await exchange(served, "POST /files", *headers)).headers["Location"]
    await exchange(served, f"DELETE {location}")
    is_refusal(await exchange(served, "POST /files", *headers), 410, "upload_gone")


# --- dedupe ------------------------------------------------------------------------------------


async def test_known_content_is_answered_with_its_results(serve: Serve) -> None:
    served = await serve()
    job = await completed(served)
    status, again = await send(served, None, dedupe="1", filename="other.txt")
    assert (status, again["jobId"], again["status"]) == (200, job["jobId"], "COMPLETED")
    assert len(await jobs_of(served)) == 1
    await until(lambda: files_of(served) == {f"raw/{job['jobId']}/a.txt"})
    assert (await send(served, None, dedupe="0"))[0] == 202
    assert (await send(served, None))[0] == 202


async def test_known_content_is_answered_before_the_body(serve: Serve) -> None:
    served = await serve()
    job = await completed(served)
    digest = f"Repr-Digest: {digest_field(TEXT)}"
    for line, more in (
        ("PUT /upload/a.txt?dedupe=1", []),
        ("POST /upload?dedupe=1", []),
        ("POST /upload?dedupe=1", [WHOLE, DRAFT]),
        ("POST /files?dedupe=1", [WHOLE]),
    ):
        headers = [length(TEXT), digest, "Expect: 100-continue", *more]
        answer = await exchange(served, line, *headers)
        assert (answer.status, answer.json()["jobId"]) == (200, job["jobId"])
        assert answer.headers["Connection"] == "close"
    answer = await exchange(
        served, "POST /files?dedupe=1", PART, f"Upload-Length: {len(TEXT)}", digest,
        "Content-Length: 0",
    )  # fmt: skip
    assert (answer.status, answer.headers["Upload-Complete"]) == (200, "?1")
    assert len(await jobs_of(served)) == 1


async def test_other_content_is_taken(serve: Serve) -> None:
    served = await serve()
    job = await completed(served)
    for data, headers in (
        (TEXT + b"x", []),
        (b"words", [f"Repr-Digest: {digest_field(b'words')}"]),
    ):
        answer = await exchange(
            served, "PUT /upload/a.txt?dedupe=1", length(data), *headers, body=data
        )
        assert answer.status == 202
        assert answer.json()["jobId"] != job["jobId"]
    lying = [length(b"words"), f"Repr-Digest: {digest_field(TEXT)}"]  # of another length
    answer = await exchange(served, "PUT /upload/a.txt?dedupe=1", *lying, body=b"words")
    is_refusal(answer, 400, "digest_mismatch")


@pytest.mark.parametrize("state", ["PENDING", "PROCESSING"])
async def test_only_completed_jobs_are_known(serve: Serve, state: str) -> None:
    served = await serve()
    job = await upload(served, TEXT)
    if state == "PROCESSING":
        await claim(served, job["jobId"])
    status, again = await send(served, None, dedupe="1")
    assert (status, again["jobId"] == job["jobId"]) == (202, False)


async def test_content_is_never_known_across_owners(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, eve = await join(served), await join(served)
    job = await completed(served, by=ada.http)
    for other in (eve.http, served.admin):
        status, again = await send(served, None, by=other, dedupe="1")
        assert (status, again["jobId"] == job["jobId"]) == (202, False)
    digest = f"Repr-Digest: {digest_field(TEXT)}"
    async with wire(served) as connection:
        bearer = f"Authorization: Bearer {eve.secret}"
        await connection.head(
            "PUT /upload/a.txt?dedupe=1", length(TEXT), digest, "Expect: 100-continue", key=bearer
        )
        assert (await connection.answer()).status == 100  # it has to send it
        await connection.send(TEXT)
        answer = await connection.answer()
    assert (answer.status, answer.json()["owner"]) == (202, eve.key.owner)
    assert (await send(served, None, by=ada.http, dedupe="1"))[1]["jobId"] == job["jobId"]


async def test_a_key_remembers_what_was_known(serve: Serve) -> None:
    served = await serve()
    job = await completed(served)
    assert (await send(served, "one", dedupe="1"))[0] == 200
    status, again = await send(served, "one")
    assert (status, again["jobId"]) == (202, job["jobId"])
    assert conflict(await send(served, "one", TEXT + b"x", dedupe="1"))


async def test_dedupe_is_yes_or_no(serve: Serve) -> None:
    served = await serve()
    for value in ("2", "true", "yes"):
        status, document = await send(served, None, dedupe=value)
        assert (status, document["code"]) == (400, "bad_request")
