"""How much an owner may have: bytes and files, exactly, however many uploads come at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import pytest

from appliance.storage.local_partials import LocalPartials
from tests.conftest import Serve, Served
from tests.records import a_result
from tests.tus.peers import TEXT, Peer
from tests.web.conftest import Join
from tests.web.wire import (
    Wire,
    claim,
    complete,
    files_of,
    in_pieces,
    is_refusal,
    refused,
    services_of,
    upload,
    wire,
)

SIZE = 1000
DATA = (b"A line of words. " * 100)[:SIZE]
MANY, FIT = 16, 5

Send = Callable[[Served], Awaitable[int]]


def tus(served: Served, http: aiohttp.ClientSession | None = None) -> Peer:
    return Peer("appliance", f"{served.url}/files", http or served.admin)


async def usage(served: Served, http: aiohttp.ClientSession | None = None) -> dict[str, int]:
    async with (http or served.admin).get("/usage") as response:
        found: dict[str, int] = await response.json()
        return found


async def raw(served: Served) -> int:
    async with served.admin.post("/upload?filename=a.txt", data=DATA) as response:
        return response.status


async def begun_with_tus(served: Served) -> int:
    return (await tus(served).send("POST", tus(served).url, upload_length=SIZE)).status


async def begun_with_ietf(served: Served) -> int:
    headers = {"Upload-Complete": "?0", "Upload-Length": str(SIZE)}
    async with served.admin.post("/files", headers=headers) as response:
        return response.status


async def of_no_known_length(served: Served) -> int:
    """Begun within the quota, grown beyond it."""
    url = await tus(served).create(None)
    return (await tus(served).patch(url, 0, in_pieces([DATA]))).status


WAYS: list[Send] = [raw, begun_with_tus, begun_with_ietf, of_no_known_length]


@pytest.mark.parametrize("send", WAYS)
async def test_many_at_once_do_not_get_beyond_a_quota_in_bytes(serve: Serve, send: Send) -> None:
    served = await serve(quota_bytes=str(FIT * SIZE + SIZE // 2))
    statuses = await asyncio.gather(*(send(served) for _ in range(MANY)))
    assert statuses.count(413) == MANY - FIT
    assert (await usage(served))["bytes"] == FIT * SIZE


@pytest.mark.parametrize("send", WAYS[:3])
async def test_many_at_once_do_not_get_beyond_a_quota_in_files(serve: Serve, send: Send) -> None:
    served = await serve(quota_files=str(FIT))
    statuses = await asyncio.gather(*(send(served) for _ in range(MANY)))
    assert statuses.count(413) == MANY - FIT
    assert (await usage(served))["files"] == FIT


async def test_what_was_judged_and_then_found_no_room_leaves_nothing(serve: Serve) -> None:
    """All of them have been found to fit when the first is recorded."""
    served = await serve(quota_bytes=str(FIT * SIZE))

    async def last_byte(connection: Wire) -> int:
        await connection.send(DATA[-1:])
        return (await connection.answer()).status

    async def send(connection: Wire) -> None:
        await connection.head("POST /upload?filename=a.txt", f"Content-Length: {SIZE}")
        await connection.send(DATA[:-1])

    async with asyncio.TaskGroup() as tasks:
        barrier = asyncio.Barrier(MANY)

        async def one() -> int:
            async with wire(served) as connection:
                await send(connection)
                await barrier.wait()
                return await last_byte(connection)

        sent = [tasks.create_task(one()) for _ in range(MANY)]
    assert [task.result() for task in sent].count(202) == FIT
    assert len(files_of(served)) == FIT
    assert (await usage(served))["files"] == FIT


async def test_many_at_once_do_not_open_too_many_uploads(serve: Serve) -> None:
    served = await serve(max_open_uploads=str(FIT))
    statuses = await asyncio.gather(*(begun_with_tus(served) for _ in range(MANY)))
    assert (statuses.count(201), statuses.count(429)) == (FIT, MANY - FIT)
    assert len(list((served.data_dir / "files" / "partial").glob("*-*"))) <= FIT
    assert (await usage(served))["openUploads"] == FIT


async def test_each_owner_has_a_quota_and_what_is_deleted_is_given_back(
    serve: Serve, join: Join
) -> None:
    served = await serve(quota_bytes="2500", quota_files="2")
    ada, bob = await join(served), await join(served)
    first = await upload(served, DATA, by=ada.http)
    await upload(served, DATA, by=ada.http)
    async with ada.http.post("/upload?filename=a.txt", data=b"words") as response:
        document = await refused(response, 413, "quota_exceeded")
        assert (document["quotaFiles"], document["usedFiles"]) == (2, 2)
    await upload(served, DATA, by=bob.http)
    async with ada.http.post(f"/jobs/{first['jobId']}/cancel") as response:
        assert response.status == 200
    async with ada.http.delete(f"/jobs/{first['jobId']}") as response:
        assert response.status == 204
    assert (await usage(served, ada.http))["bytes"] == SIZE
    async with ada.http.post("/upload?filename=a.txt", data=DATA * 2) as response:
        document = await refused(response, 413, "quota_exceeded")
        assert (document["quotaBytes"], document["usedBytes"]) == (2500, SIZE)
    await upload(served, DATA, by=ada.http)


async def test_results_count_and_may_go_beyond_and_what_was_begun_is_finished(
    serve: Serve,
) -> None:
    served = await serve(quota_bytes="3000")
    url = await tus(served).create(SIZE)
    open_ended = await tus(served).create(None)
    job_id = (await upload(served, DATA))["jobId"]
    await claim(served, job_id)
    result = msgspec.structs.replace(a_result(job_id, 1, "thumbnail.webp"), size_bytes=5000)
    await complete(served, job_id, files=[result])
    assert (await usage(served))["bytes"] == 2 * SIZE + 5000
    for send in WAYS[:3]:
        assert await send(served) == 413
    answer = await tus(served).send("POST", tus(served).url, upload_defer_length=1)
    is_refusal(answer, 413, "quota_exceeded")
    is_refusal(await tus(served).patch(open_ended, 0, in_pieces([DATA])), 413, "quota_exceeded")
    answer = await tus(served).patch(url, 0, DATA)
    assert answer.status == 204
    assert "Upload-Job-Id" in answer.headers
    async with served.admin.post(f"/jobs/{job_id}/process", json={"preset": "default"}) as response:
        await refused(response, 413, "quota_exceeded")


async def test_parts_count_until_they_are_joined_and_once(serve: Serve) -> None:
    served = await serve(quota_bytes=str(2 * SIZE), quota_files="1")
    peer = tus(served)
    parts = [await peer.create(SIZE, upload_concat="partial") for _ in range(2)]
    for part in parts:
        await peer.patch(part, 0, DATA)
    told = await usage(served)
    assert (told["bytes"], told["files"], told["openUploads"]) == (2 * SIZE, 0, 0)
    assert await raw(served) == 413
    twice = f"final;{parts[0]} {parts[0]}"
    is_refusal(await peer.send("POST", peer.url, upload_concat=twice), 400, "bad_request")
    # They fill the quota, and what they become is no more than they are.
    joined = await peer.send("POST", peer.url, upload_concat=f"final;{' '.join(parts)}")
    assert joined.status == 201
    told = await usage(served)
    assert (told["bytes"], told["files"], told["openUploads"]) == (2 * SIZE, 1, 0)


async def test_of_the_same_parts_one_job_is_made(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are both put together when the first of them is recorded."""
    served = await serve(quota_bytes=str(SIZE))
    peer, together = tus(served), asyncio.Barrier(2)
    commit = LocalPartials.commit

    async def both(partials: LocalPartials, name: str, key: str) -> None:
        await commit(partials, name, key)
        await together.wait()

    monkeypatch.setattr(LocalPartials, "commit", both)
    part = await peer.create(SIZE, upload_concat="partial")
    await peer.patch(part, 0, DATA)
    answers = await asyncio.gather(
        *(peer.send("POST", peer.url, upload_concat=f"final;{part}") for _ in range(2))
    )
    assert sorted(answer.status for answer in answers) == [201, 404]
    told = await usage(served)
    assert (told["bytes"], told["files"], told["openUploads"]) == (SIZE, 1, 0)
    assert len(files_of(served)) == 1


@pytest.mark.parametrize("general", [None, "2000"], ids=["no general one", "above the general"])
async def test_a_key_may_have_a_quota_of_its_own(
    serve: Serve, join: Join, general: str | None
) -> None:
    served = await serve(**({} if general is None else {"quota_bytes": general}))
    asked = {"name": "guest", "quotaBytes": 3 * SIZE}
    async with served.admin.post("/keys", json=asked) as response:
        made = await response.json()
        assert (response.status, made["quotaBytes"]) == (201, 3 * SIZE)
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with aiohttp.ClientSession(served.url, headers=headers) as guest:

        async def send() -> int:
            async with guest.post("/upload?filename=a.txt", data=DATA) as response:
                return response.status

        statuses = await asyncio.gather(*(send() for _ in range(MANY)))
        assert statuses.count(202) == 3
        assert (await usage(served, guest))["quotaBytes"] == 3 * SIZE
        peer = tus(served, guest)
        is_refusal(await peer.send("POST", peer.url, upload_length=1), 413, "quota_exceeded")
        # Large ones are refused before they come.
        async with wire(served) as connection:
            await connection.head(
                "POST /upload?filename=a.txt", "Content-Length: 2000000", "Expect: 100-continue",
                key=f"Authorization: Bearer {made['key']}",
            )  # fmt: skip
            is_refusal(await connection.answer(), 413, "quota_exceeded")
        async with guest.get("/", headers={"Accept": "text/html"}) as response:
            assert "3.0 KB of 3.0 KB used" in await response.text()
    other = await join(served)
    assert (await usage(served, other.http))["quotaBytes"] == (general and int(general))
    for wrong in (0, -1, "much", 1.5):
        async with served.admin.post("/keys", json={**asked, "quotaBytes": wrong}) as response:
            await refused(response, 400, "bad_request")


async def test_usage_is_told_and_shown(serve: Serve, join: Join) -> None:
    served = await serve(
        quota_bytes="5GB", quota_files="1000", max_open_uploads="7", max_type_bytes="image=200MB"
    )
    ada = await join(served)
    await upload(served, DATA, by=ada.http)
    await tus(served, ada.http).create(len(TEXT))
    most = 10 * 1024**3
    assert await usage(served, ada.http) == {
        "bytes": SIZE + len(TEXT), "files": 2, "openUploads": 1,
        "used": [
            {"type": "ANY", "kind": "originals", "place": "hot", "files": 1, "bytes": SIZE},
        ],
        "quotaBytes": 5_000_000_000, "quotaFiles": 1000, "maxOpenUploads": 7,
        "leftBytes": 5_000_000_000 - SIZE - len(TEXT), "leftFiles": 998,
        "maxUploadBytes": most,
        "maxTypeBytes": {"IMAGE": 200_000_000, "PDF": most, "VIDEO": most, "ANY": most},
    }  # fmt: skip
    async with ada.http.get("/", headers={"Accept": "text/html"}) as response:
        page = await response.text()
    assert "of 5.0 GB used" in page
    assert "2 of 1,000 files" in page
    assert "images up to 200 MB" in page


async def test_without_a_quota_none_is_shown(serve: Serve) -> None:
    served = await serve()
    assert (await usage(served))["quotaBytes"] is None
    async with served.admin.get("/", headers={"Accept": "text/html"}) as response:
        assert 'id="usage"' not in await response.text()
    assert services_of(served).admission.limits.quota.files is None
