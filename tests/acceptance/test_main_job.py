"""The main job, as a user sees it: a file goes in, 202 comes back, the results appear."""

from __future__ import annotations

import hashlib
import io
import mmap
import time
from pathlib import Path

import av
import pytest
from PIL import Image

from tests import media
from tests.acceptance.conftest import Server


async def upload(server: Server, name: str, content: bytes) -> str:
    job = await server.request("PUT", f"/upload/{name}", data=io.BytesIO(content))
    return str(job["jobId"])


async def test_a_photo_becomes_three_sizes(server: Server) -> None:
    photo = media.jpeg(3000, 2000, orientation=6)
    job = await server.finished(await upload(server, "cat.jpg", photo))
    assert (job["status"], job["type"], job["error"]) == ("COMPLETED", "IMAGE", None)
    assert (job["result"]["width"], job["result"]["height"]) == (2000, 3000)
    sizes = {}
    for file in job["files"]:
        body = await server.bytes_of(file["url"])
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
        picture = Image.open(io.BytesIO(body))
        picture.load()
        assert picture.format == "WEBP"
        assert picture.size == (file["width"], file["height"])
        sizes[file["name"]] = picture.size
    assert sizes == {
        "thumbnail.webp": (213, 320),
        "web-1280.webp": (853, 1280),
        "web-2048.webp": (1365, 2048),
    }
    assert await server.bytes_of(f"/jobs/{job['jobId']}/files/original") == photo


async def test_a_pdf_becomes_text_and_pictures(server: Server) -> None:
    job = await server.finished(await upload(server, "paper.pdf", media.pdf(3, "Quarterly report")))
    assert (job["status"], job["result"]["pageCount"]) == ("COMPLETED", 3)
    text = (await server.bytes_of(f"/jobs/{job['jobId']}/files/text.txt")).decode()
    assert text.count("\f") == 2
    assert "Quarterly report" in text
    names = [file["name"] for file in job["files"]]
    assert {"thumbnail.webp", "page-1.webp", "page-2.webp", "page-3.webp"} <= set(names)


async def test_a_video_becomes_a_poster_and_an_mp4(server: Server) -> None:
    job = await server.finished(await upload(server, "clip.mp4", media.mp4(2, 1920, 1080)))
    assert job["status"] == "COMPLETED", job["error"]
    assert job["result"]["videoCodec"] == "h264"
    body = await server.bytes_of(f"/jobs/{job['jobId']}/files/video-720p.mp4")
    assert 0 < body.index(b"moov") < body.index(b"mdat")
    with av.open(io.BytesIO(body)) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height) == (1280, 720)
        assert len(list(video.decode(video=0))) > 10
    Image.open(io.BytesIO(await server.bytes_of(f"/jobs/{job['jobId']}/files/poster.webp"))).load()


async def test_any_other_file_is_kept_as_it_is(server: Server) -> None:
    text = "Grüße aus Zürich\n" * 100
    job = await server.finished(await upload(server, "notes.txt", text.encode()))
    assert (job["status"], job["type"]) == ("COMPLETED", "ANY")
    assert job["sha256"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "codes"),
    [
        ("half.jpg", lambda: media.truncated(media.jpeg(800, 600)), {"corrupt_file"}),
        ("half.pdf", lambda: media.truncated(media.pdf(3, "x")), {"corrupt_file", None}),
        ("half.mp4", lambda: media.truncated(media.mp4(2, 320, 240)), {"corrupt_file"}),
        ("bomb.png", media.png_header_bomb, {"limit_exceeded"}),
        ("secret.pdf", media.encrypted_pdf, {"encrypted_file"}),
        ("noise.jpg", lambda: b"\xff\xd8\xff" + bytes(range(256)) * 40, {"corrupt_file"}),
    ],
)
async def test_a_bad_file_fails_with_its_reason_and_harms_nothing(
    server: Server, name: str, content: object, codes: set[str | None]
) -> None:
    job = await server.finished(await upload(server, name, content()))  # type: ignore[operator]
    if None not in codes:  # a cut PDF may still be read: its text is worth having
        assert job["status"] == "FAILED"
    code = job["error"]["code"] if job["error"] else None
    assert code in codes, job
    if job["status"] == "FAILED":
        assert job["attempt"] == 1  # a permanent fault burns no retries
        assert job["error"]["message"].endswith(".")
    good = await server.finished(await upload(server, "good.jpg", media.jpeg(64, 64)))
    assert good["status"] == "COMPLETED"
    await server.emptied("scratch")
    await server.emptied("files/incoming")


async def test_the_results_wait_on_a_long_poll(server: Server) -> None:
    began = time.monotonic()
    job = await server.request("PUT", "/upload/cat.jpg", data=media.jpeg(640, 480))
    while job["status"] not in ("COMPLETED", "FAILED"):
        job = await server.request("GET", f"{job['statusUrl']}?wait=30")
    assert job["status"] == "COMPLETED"
    assert time.monotonic() - began < 25  # the change ended the wait, not the 30 s


async def test_a_large_body_is_received_into_memory_that_is_there_already(server: Server) -> None:
    """Else every page of it is asked of the kernel, zeroed, and given back at once."""
    text = b"words " * 10_000_000
    faults = []
    for _ in range(3):
        before = _page_faults(server)
        await server.request("PUT", "/upload/a.txt", data=io.BytesIO(text))
        faults.append(_page_faults(server) - before)
    assert min(faults[1:]) < len(text) / mmap.PAGESIZE / 10  # the first one makes the room


def _page_faults(server: Server) -> int:
    assert server.process is not None
    stat = Path(f"/proc/{server.process.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[7])
