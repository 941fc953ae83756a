"""How large a file of each type may be: by what is announced, by its content, in every way in."""

from __future__ import annotations

import pytest

from tests import media
from tests.conftest import Serve, Served
from tests.tus.peers import Peer, metadata
from tests.web.wire import (
    file_part,
    form,
    in_pieces,
    is_refusal,
    left_nothing,
    post_form,
    problem,
    refused,
    upload,
    wire,
)

PHOTO = media.jpeg(64, 48) + bytes(20_000)  # what follows the picture is disregarded
HEAD, REST = PHOTO[:5000], PHOTO[5000:]
LIMIT = 10_000
TEXT = b"words " * 4000


def tus(served: Served) -> Peer:
    return Peer("appliance", f"{served.url}/files", served.admin)


async def limited(serve: Serve, limit: int = LIMIT) -> Served:
    return await serve(max_type_bytes=f"image={limit},pdf=1GB")


async def test_by_what_is_announced_before_a_byte_is_read(serve: Serve) -> None:
    served = await limited(serve)
    for said in ("photo.jpg", "photo"):
        async with wire(served) as connection:
            await connection.head(
                f"POST /upload?filename={said}", f"Content-Length: {len(PHOTO)}",
                "Content-Type: image/jpeg", "Expect: 100-continue",
            )  # fmt: skip
            document = is_refusal(await connection.answer(), 413, "file_too_large")
            assert document["maxUploadBytes"] == LIMIT
            assert "JPEG" in document["detail"]
            assert "APPLIANCE_MAX_TYPE_BYTES" in document["detail"]
    peer = tus(served)
    answer = await peer.send(
        "POST", peer.url, upload_length=len(PHOTO), upload_metadata=metadata(filename="a.jpg")
    )
    is_refusal(answer, 413, "file_too_large")
    headers = {"Upload-Complete": "?0", "Upload-Length": str(len(PHOTO)),
               "Content-Disposition": 'attachment; filename="a.jpg"'}  # fmt: skip
    async with served.admin.post("/files", headers=headers) as response:
        await refused(response, 413, "file_too_large")
    await left_nothing(served)
    await upload(served, TEXT, "a.txt")  # of another type it may be larger


async def test_by_the_content_when_nothing_is_announced(serve: Serve) -> None:
    served = await limited(serve)
    is_refusal(await post_form(served, form(file_part("photo", PHOTO))), 413, "file_too_large")
    async with served.admin.put("/upload/photo", data=in_pieces([HEAD, REST])) as response:
        await refused(response, 413, "file_too_large")
    async with served.admin.post("/upload", data=PHOTO) as response:
        await refused(response, 413, "file_too_large")
    await left_nothing(served)


@pytest.mark.parametrize("length", [len(PHOTO), None], ids=["length told", "no length"])
@pytest.mark.parametrize("cut", [0, 100, 5000], ids=["in one", "before 4 KiB", "after 4 KiB"])
async def test_by_the_content_of_an_upload_in_pieces(
    serve: Serve, length: int | None, cut: int
) -> None:
    """Wherever it is cut, at the latest when it is whole; and then it has ended."""
    served = await limited(serve)
    peer = tus(served)
    url = await peer.create(length)
    if cut:
        first = await peer.patch(url, 0, PHOTO[:cut])
        if length is not None and cut == 5000:  # all is known of it with the first bytes
            is_refusal(first, 413, "file_too_large")
            is_refusal(await peer.patch(url, cut, PHOTO[cut:]), 410, "upload_gone")
            return
        assert first.status == 204
    last = await peer.patch(url, cut, PHOTO[cut:])
    if last.status == 204:  # its length is told with the end
        last = await peer.patch(url, len(PHOTO), b"", upload_length=len(PHOTO))
    is_refusal(last, 413, "file_too_large")
    answer = await peer.patch(url, len(PHOTO), b"")
    assert is_refusal(answer, 410, "upload_gone")["reason"] == "file_too_large"
    assert (await served.json("GET", "/usage"))["bytes"] == 0


async def test_by_the_content_with_the_other_protocol(serve: Serve) -> None:
    served = await limited(serve)
    headers = {"Upload-Complete": "?1"}
    async with served.admin.post("/files", data=in_pieces([HEAD, REST]), headers=headers) as answer:
        problem(answer.status, await answer.json(content_type=None), 413, "file_too_large")
    await left_nothing(served)


async def test_parts_are_judged_when_they_are_joined(serve: Serve) -> None:
    served = await limited(serve)
    peer = tus(served)
    parts = []
    for piece in (HEAD, REST):
        parts.append(await peer.create(len(piece), upload_concat="partial"))
        await peer.patch(parts[-1], 0, piece)
    answer = await peer.send("POST", peer.url, upload_concat=f"final;{' '.join(parts)}")
    is_refusal(answer, 413, "file_too_large")


async def test_a_limit_below_what_it_takes_to_know_the_type(serve: Serve) -> None:
    served = await limited(serve, limit=100)
    async with served.admin.post("/upload", data=in_pieces([PHOTO[:2000]])) as response:
        await refused(response, 413, "file_too_large")
    await left_nothing(served)
