"""Files as one ZIP."""

from __future__ import annotations

import io
import zipfile

from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.wire import refused, upload


async def fetched(served: Served, path: str) -> dict[str, bytes]:
    async with served.admin.get(path) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/zip"
        data = await response.read()
        assert int(response.headers["Content-Length"]) == len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


async def test_a_job_with_its_results(serve: Serve) -> None:
    served = await serve(workers=True)
    picture = media.jpeg(640, 480)
    job = await served.finished((await upload(served, picture, "été.jpg"))["jobId"])
    found = await fetched(served, f"/jobs/{job['jobId']}/archive")
    assert found["été.jpg"] == picture
    assert set(found) == {"été.jpg", *(file["name"] for file in job["files"])}
    async with served.admin.head(f"/jobs/{job['jobId']}/archive") as response:
        assert "filename*=UTF-8''%C3%A9t%C3%A9.zip" in response.headers["Content-Disposition"]


async def test_the_originals_of_several(serve: Serve, join: Join) -> None:
    served = await serve()
    jobs = [await upload(served, b"%d" % n, "same.txt") for n in range(3)]
    query = "&".join(f"job={job['jobId']}" for job in jobs)
    assert await fetched(served, f"/archive?{query}") == {
        "same.txt": b"0",
        "same (2).txt": b"1",
        "same (3).txt": b"2",
    }
    eve = await join(served)
    async with eve.http.get(f"/archive?{query}") as response:
        await refused(response, 404, "not_found")
    for wrong in ("", "job=x", query + "&job="):
        async with served.admin.get(f"/archive?{wrong}") as response:
            await refused(response, 400, "bad_request")


async def test_what_is_gone_is_told_before_anything_is_sent(serve: Serve) -> None:
    served = await serve()
    jobs = [await upload(served) for _ in range(2)]
    (served.data_dir / "files/raw" / jobs[1]["jobId"] / "a.txt").unlink()
    query = "&".join(f"job={job['jobId']}" for job in jobs)
    async with served.admin.get(f"/archive?{query}") as response:
        await refused(response, 500, "object_missing")
