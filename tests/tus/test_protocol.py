"""tus 1.0.0, each requirement on a server in the order of the text: https://tus.io/protocols/resumable-upload

A black-box suite: it knows a server by its address only, and runs against ours and against
@tus/server, so that the suite itself is checked by a peer. Where one of them does otherwise stands
in `peers.DIFFERENCES`. What is ours alone (jobs, owners, take-over) is in tests/web/test_tus.py.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.tus.peers import MAX_BYTES, OCTETS, TEXT, VERSION, Peer, metadata, until

HALF = len(TEXT) // 2
KNOWN = {
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
}
NO_NUMBERS = ["-1", "1.5", "0x10", "many", "1e3", "+5"]
needs = pytest.mark.needs


def checksum(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


# --- Core Protocol: Headers ------------------------------------------------------------------


@pytest.mark.parametrize("offset", NO_NUMBERS)
async def test_upload_offset_is_a_non_negative_integer(peer: Peer, offset: str) -> None:
    url = await peer.create()
    answer = await peer.patch(url, 0, TEXT, upload_offset=offset)
    assert answer.status == 400
    assert await peer.offset(url) == 0


@pytest.mark.parametrize("length", [*NO_NUMBERS, "9" * 30])
async def test_upload_length_is_a_non_negative_integer(peer: Peer, length: str) -> None:
    answer = await peer.send("POST", peer.url, upload_length=length)
    assert answer.status in (400, 413)
    assert "Location" not in answer.headers


async def test_an_upload_may_have_length_0(peer: Peer) -> None:
    url = await peer.create(0)
    assert await peer.offset(url) == 0


async def test_tus_version_is_a_list_with_the_preferred_one_first(peer: Peer) -> None:
    assert (await peer.options()).headers["Tus-Version"].split(",")[0] == VERSION


async def test_tus_resumable_is_in_every_answer(peer: Peer) -> None:
    created = await peer.send("POST", peer.url, upload_length=len(TEXT))
    url = peer.location(created)
    answers = [
        created,
        await peer.head(url),
        await peer.patch(url, 0, TEXT[:5]),
        await peer.patch(url, 9, TEXT[:5]),  # 409
        await peer.head(f"{peer.url}/01AAAAAAAAAAAAAAAAAAAAAAAA"),  # 404
        await peer.send("POST", peer.url, upload_length="x"),  # 400
        await peer.send("DELETE", url),
    ]
    assert [answer.headers.get("Tus-Resumable") for answer in answers] == [VERSION] * len(answers)
    assert [answer.status for answer in answers][:5] == [201, 200, 204, 409, 404]


async def test_an_unknown_version_is_refused_with_412_and_tus_version(peer: Peer) -> None:
    url = await peer.create()
    for version in ("0.2.2", "2.0.0", None):
        told = {"content_type": OCTETS, "upload_offset": 0}
        for answer in (
            await peer.send("POST", peer.url, version=version, upload_length=5),
            await peer.send("PATCH", url, TEXT, version=version, **told),
        ):
            assert answer.status == 412
            assert VERSION in answer.headers["Tus-Version"]
    for method in ("HEAD", "DELETE"):
        answer = await peer.send(method, url, version="0.2.2")
        assert answer.status == 412
        assert VERSION in answer.headers["Tus-Version"]


async def test_a_request_of_an_unknown_version_is_not_processed(peer: Peer) -> None:
    url = await peer.create()
    told = {"content_type": OCTETS, "upload_offset": 0}
    for version in ("0.2.2", "2.0.0", None):
        answer = await peer.send("PATCH", url, TEXT, version=version, **told)
        assert 400 <= answer.status < 500
    answer = await peer.send("DELETE", url, version="0.2.2")
    assert 400 <= answer.status < 500
    assert await peer.offset(url) == 0


async def test_tus_extension_is_a_list_of_extensions(peer: Peer) -> None:
    extensions = (await peer.options()).headers["Tus-Extension"].split(",")
    assert set(extensions) <= KNOWN
    assert len(set(extensions)) == len(extensions)


async def test_tus_max_size_is_a_non_negative_integer(peer: Peer) -> None:
    assert int((await peer.options()).headers["Tus-Max-Size"]) == MAX_BYTES


async def test_x_http_method_override_goes_before_the_method(peer: Peer) -> None:
    url = await peer.create()
    told = {"content_type": OCTETS, "upload_offset": 0, "x_http_method_override": "PATCH"}
    answer = await peer.send("POST", url, TEXT[:5], **told)
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, "5")
    answer = await peer.send("PATCH", url, x_http_method_override="HEAD")
    assert (answer.status, answer.headers["Upload-Offset"]) == (200, "5")
    answer = await peer.send("POST", url, x_http_method_override="DELETE")
    assert answer.status == 204
    assert (await peer.head(url)).status in (404, 410)


# --- Core Protocol: Requests: HEAD -----------------------------------------------------------


async def test_head_tells_the_offset_even_if_it_is_0(peer: Peer) -> None:
    assert (await peer.head(await peer.create())).headers["Upload-Offset"] == "0"


async def test_head_tells_the_offset_even_if_the_upload_is_complete(peer: Peer) -> None:
    url = await peer.create()
    await peer.patch(url, 0, TEXT)
    answer = await peer.head(url)
    assert (answer.status, answer.headers["Upload-Offset"]) == (200, str(len(TEXT)))


async def test_head_tells_the_length_if_it_is_known(peer: Peer) -> None:
    assert (await peer.head(await peer.create())).headers["Upload-Length"] == str(len(TEXT))


async def test_head_of_what_is_not_there_is_404_410_or_403_without_an_offset(peer: Peer) -> None:
    for name in ("01AAAAAAAAAAAAAAAAAAAAAAAA", "x", "a%2Fb"):
        answer = await peer.head(f"{peer.url}/{name}")
        assert answer.status in (404, 410, 403)
        assert "Upload-Offset" not in answer.headers


async def test_head_may_not_be_cached(peer: Peer) -> None:
    assert (await peer.head(await peer.create())).headers["Cache-Control"] == "no-store"


# --- Core Protocol: Requests: PATCH ----------------------------------------------------------


async def test_a_patch_applies_the_bytes_at_the_offset(peer: Peer) -> None:
    url = await peer.create()
    for offset in range(0, len(TEXT), 1000):
        assert await peer.offset(url) == offset
        answer = await peer.patch(url, offset, TEXT[offset : offset + 1000])
        assert answer.status == 204
    assert await peer.offset(url) == len(TEXT)


async def test_a_patch_of_another_content_type_is_refused_with_415(peer: Peer) -> None:
    url = await peer.create()
    for other in ("text/plain", "application/octet-stream", "application/json"):
        assert (await peer.patch(url, 0, TEXT, content_type=other)).status == 415
    assert await peer.offset(url) == 0


async def test_a_patch_at_another_offset_is_409_and_changes_nothing(peer: Peer) -> None:
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:10])
    for offset in (0, 9, 11, len(TEXT), len(TEXT) + 1):
        assert (await peer.patch(url, offset, TEXT[offset:] or b"x")).status == 409
    assert await peer.offset(url) == 10


async def test_a_patch_without_an_offset_changes_nothing(peer: Peer) -> None:
    url = await peer.create()
    answer = await peer.send("PATCH", url, TEXT, content_type=OCTETS)
    assert 400 <= answer.status < 500
    assert await peer.offset(url) == 0


async def test_a_patch_is_acknowledged_with_204_and_the_new_offset(peer: Peer) -> None:
    url = await peer.create()
    answer = await peer.patch(url, 0, TEXT[:HALF])
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(HALF))
    answer = await peer.patch(url, HALF, TEXT[HALF:])
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(TEXT)))


async def test_a_patch_without_bytes_leaves_the_offset(peer: Peer) -> None:
    url = await peer.create()
    await peer.patch(url, 0, TEXT[:10])
    answer = await peer.patch(url, 10, b"")
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, "10")


async def test_a_patch_of_what_is_not_there_is_404(peer: Peer) -> None:
    answer = await peer.patch(f"{peer.url}/01AAAAAAAAAAAAAAAAAAAAAAAA", 0, TEXT)
    assert answer.status == 404


async def test_no_more_is_taken_than_the_length(peer: Peer) -> None:
    """Not in so many words in the text, but in that of every server: 413, or what fits."""
    url = await peer.create(10)
    answer = await peer.patch(url, 0, TEXT)
    assert answer.status in (400, 413)
    assert await peer.offset(url) in (0, 10)


async def test_as_much_as_possible_is_stored_of_what_was_received(peer: Peer) -> None:
    """The connection is lost in the middle of a PATCH."""
    url = await peer.create(100_000)
    address = urlsplit(url)
    authorization = peer._http.headers.get("Authorization", "none")
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = [
        f"PATCH {address.path} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: {authorization}",
        f"Tus-Resumable: {VERSION}",
        f"Content-Type: {OCTETS}",
        "Upload-Offset: 0",
        "Content-Length: 100000",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + TEXT)
    await writer.drain()

    async def some() -> bool:
        return await peer.offset(url) > 0

    await until(some)  # while the connection still stands: it is taken over from
    writer.close()
    del reader
    assert await peer.offset(url) == len(TEXT)


# --- Core Protocol: Requests: OPTIONS --------------------------------------------------------


async def test_options_is_answered_with_204_or_200_and_the_versions(peer: Peer) -> None:
    answer = await peer.options()
    assert answer.status in (204, 200)
    assert VERSION in answer.headers["Tus-Version"]


async def test_options_takes_no_notice_of_tus_resumable(peer: Peer) -> None:
    for version in ("0.0.1", "x"):
        answer = await peer.send("OPTIONS", peer.url, version=version)
        assert answer.status in (204, 200)
        assert VERSION in answer.headers["Tus-Version"]


# --- Creation --------------------------------------------------------------------------------


@needs("creation")
async def test_creation_is_announced(peer: Peer) -> None:
    assert "creation" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("creation")
async def test_a_creation_is_acknowledged_with_201_and_the_address(peer: Peer) -> None:
    answer = await peer.send("POST", peer.url, upload_length=10)
    assert answer.status == 201
    assert await peer.offset(peer.location(answer)) == 0


@needs("creation")
async def test_a_creation_tells_the_length_or_that_it_comes_later(peer: Peer) -> None:
    for fields in ({}, {"upload_length": 5, "upload_defer_length": 1}):
        assert (await peer.send("POST", peer.url, **fields)).status == 400


@needs("creation")
async def test_more_than_the_maximum_is_refused_with_413(peer: Peer) -> None:
    answer = await peer.send("POST", peer.url, upload_length=MAX_BYTES + 1)
    assert answer.status == 413
    assert (await peer.send("POST", peer.url, upload_length=MAX_BYTES)).status == 201


@needs("creation")
async def test_head_tells_the_metadata_as_they_were_told(peer: Peer) -> None:
    told = metadata(filename="Übersicht.txt", filetype="text/plain") + ",is_confidential"
    url = await peer.create(upload_metadata=told)
    assert (await peer.head(url)).headers["Upload-Metadata"] == told


@needs("creation")
@pytest.mark.parametrize(
    "bad",
    [
        "filename !!!",
        "filename YQ= =",
        "filename YQ==,filename Yg==",
        "a YQ== b",
        "a YQ==,,",
        "a a a",
    ],
)
async def test_metadata_that_are_not_well_formed_are_refused(peer: Peer, bad: str) -> None:
    """Keys are not empty and unique, values are base64."""
    answer = await peer.send("POST", peer.url, upload_length=5, upload_metadata=bad)
    assert answer.status == 400


@needs("creation-defer-length")
async def test_creation_defer_length_is_announced(peer: Peer) -> None:
    assert "creation-defer-length" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("creation-defer-length")
async def test_upload_defer_length_is_1_or_refused_with_400(peer: Peer) -> None:
    for other in ("0", "2", "true", ""):
        answer = await peer.send("POST", peer.url, upload_defer_length=other)
        assert answer.status == 400, other


@needs("creation-defer-length")
async def test_head_tells_that_the_length_is_deferred_while_it_is_not_known(peer: Peer) -> None:
    url = await peer.create(None)
    await peer.patch(url, 0, TEXT[:10])
    answer = await peer.head(url)
    assert answer.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in answer.headers
    await peer.patch(url, 10, TEXT[10:20], upload_length=len(TEXT))
    answer = await peer.head(url)
    assert answer.headers["Upload-Length"] == str(len(TEXT))
    assert "Upload-Defer-Length" not in answer.headers


@needs("creation-defer-length")
async def test_a_length_that_was_told_is_not_changed(peer: Peer) -> None:
    url = await peer.create(None)
    await peer.patch(url, 0, TEXT[:10], upload_length=len(TEXT))
    assert (await peer.patch(url, 10, b"", upload_length=len(TEXT) + 1)).status == 400
    answer = await peer.head(url)
    assert answer.headers["Upload-Length"] == str(len(TEXT))
    assert answer.headers["Upload-Offset"] == "10"


@needs("creation-defer-length")
async def test_a_length_below_what_is_there_is_refused(peer: Peer) -> None:
    url = await peer.create(None)
    await peer.patch(url, 0, TEXT[:10])
    assert (await peer.patch(url, 10, b"", upload_length=9)).status == 400


# --- Creation With Upload --------------------------------------------------------------------


@needs("creation-with-upload")
async def test_creation_with_upload_is_announced(peer: Peer) -> None:
    assert "creation-with-upload" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("creation-with-upload")
@pytest.mark.parametrize("first", [1, HALF, len(TEXT)])
async def test_a_creation_with_bytes_tells_the_offset_after_them(peer: Peer, first: int) -> None:
    answer = await peer.send(
        "POST", peer.url, TEXT[:first], upload_length=len(TEXT), content_type=OCTETS
    )
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, str(first))
    url = peer.location(answer)
    assert await peer.offset(url) == first
    if first < len(TEXT):
        assert (await peer.patch(url, first, TEXT[first:])).status == 204


@needs("creation-with-upload")
async def test_a_body_of_another_content_type_is_refused_with_415(peer: Peer) -> None:
    answer = await peer.send(
        "POST", peer.url, TEXT, upload_length=len(TEXT), content_type="text/plain"
    )
    assert answer.status == 415
    assert "Location" not in answer.headers


# --- Expiration ------------------------------------------------------------------------------


@needs("expiration")
async def test_expiration_is_announced(peer: Peer) -> None:
    assert "expiration" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("expiration")
async def test_upload_expires_is_told_at_the_creation_and_with_every_patch(peer: Peer) -> None:
    created = await peer.send("POST", peer.url, upload_length=len(TEXT))
    patched = await peer.patch(peer.location(created), 0, TEXT[:5])
    for answer in (created, patched):
        told = answer.headers["Upload-Expires"]
        assert told.endswith(" GMT")
        assert len(told) == len("Wed, 25 Jun 2014 16:00:00 GMT")  # RFC 7231, IMF-fixdate
        assert parsedate_to_datetime(told).timestamp() > 0


@needs("expiration")
async def test_what_is_complete_does_not_expire(peer: Peer) -> None:
    url = await peer.create()
    assert "Upload-Expires" not in (await peer.patch(url, 0, TEXT)).headers


# --- Checksum --------------------------------------------------------------------------------


@needs("checksum")
async def test_checksum_is_announced_with_its_algorithms(peer: Peer) -> None:
    headers = (await peer.options()).headers
    assert "checksum" in headers["Tus-Extension"].split(",")
    algorithms = headers["Tus-Checksum-Algorithm"].split(",")
    assert {"sha1", "sha256", "md5"} <= set(algorithms)
    assert all(name.isascii() and name == name.lower() for name in algorithms)


@needs("checksum")
async def test_sha1_is_supported(peer: Peer) -> None:
    url = await peer.create()
    answer = await peer.patch(url, 0, TEXT[:10], upload_checksum=checksum("sha1", TEXT[:10]))
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, "10")


@needs("checksum")
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
async def test_a_checksum_that_differs_is_460_and_the_chunk_is_discarded(
    peer: Peer, algorithm: str
) -> None:
    url = await peer.create()
    good = checksum(algorithm, TEXT[10:20])
    await peer.patch(url, 0, TEXT[:10])
    assert (await peer.patch(url, 10, b"another ten"[:10], upload_checksum=good)).status == 460
    assert await peer.offset(url) == 10
    assert (await peer.patch(url, 10, TEXT[10:20], upload_checksum=good)).status == 204


@needs("checksum")
@pytest.mark.parametrize("bad", ["crc32 AAAA", "SHA1 AAAA", "sha1", "sha1 !!", "sha1AAAA", ""])
async def test_an_algorithm_that_is_not_supported_is_400_and_the_chunk_is_discarded(
    peer: Peer, bad: str
) -> None:
    url = await peer.create()
    assert (await peer.patch(url, 0, TEXT[:10], upload_checksum=bad)).status in (400, 460)
    assert await peer.offset(url) == 0


@needs("checksum")
async def test_a_checksum_in_a_trailer_is_verified_or_not_announced(peer: Peer) -> None:
    assert "checksum-trailer" not in (await peer.options()).headers["Tus-Extension"].split(",")
    url = await peer.create()
    answer = await peer.patch(url, 0, TEXT[:10], trailer="Upload-Checksum")
    assert answer.status == 400  # rather than take it unverified
    assert await peer.offset(url) == 0


# --- Termination -----------------------------------------------------------------------------


@needs("termination")
async def test_termination_is_announced(peer: Peer) -> None:
    assert "termination" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("termination")
@pytest.mark.parametrize("size", [0, 10, len(TEXT)])
async def test_a_termination_is_204_and_then_the_address_is_404_or_410(
    peer: Peer, size: int
) -> None:
    """Of unfinished and of complete uploads."""
    url = await peer.create()
    if size:
        await peer.patch(url, 0, TEXT[:size])
    assert (await peer.send("DELETE", url)).status == 204
    for answer in (
        await peer.head(url),
        await peer.patch(url, size, TEXT[size:]),
        await peer.send("DELETE", url),
    ):
        assert answer.status in (404, 410)


# --- Concatenation ---------------------------------------------------------------------------


async def parts_of(peer: Peer, *pieces: bytes, **fields: Any) -> list[str]:
    urls = []
    for piece in pieces:
        url = await peer.create(len(piece), upload_concat="partial", **fields)
        await peer.patch(url, 0, piece)
        urls.append(url)
    return urls


@needs("concatenation")
async def test_concatenation_is_announced(peer: Peer) -> None:
    assert "concatenation" in (await peer.options()).headers["Tus-Extension"].split(",")


@needs("concatenation")
async def test_a_final_upload_is_as_long_as_its_parts_together(peer: Peer) -> None:
    urls = await parts_of(peer, TEXT[:HALF], TEXT[HALF:])
    final = "final;" + " ".join(urls)
    answer = await peer.send("POST", peer.url, upload_concat=final)
    assert answer.status == 201
    answer = await peer.head(peer.location(answer))
    assert answer.headers["Upload-Length"] == answer.headers["Upload-Offset"] == str(len(TEXT))


@needs("concatenation")
async def test_parts_are_named_by_absolute_or_relative_addresses(peer: Peer) -> None:
    absolute, another = await parts_of(peer, TEXT[:HALF], TEXT[HALF:])
    final = f"final;{absolute} {urlsplit(another).path}"
    assert (await peer.send("POST", peer.url, upload_concat=final)).status == 201


@needs("concatenation")
async def test_head_tells_upload_concat_as_it_was_told(peer: Peer) -> None:
    urls = await parts_of(peer, TEXT[:HALF], TEXT[HALF:])
    for url in urls:
        answer = await peer.head(url)
        assert answer.headers["Upload-Concat"] == "partial"
        assert answer.headers["Upload-Offset"] == answer.headers["Upload-Length"] == str(HALF)
    final = f"final;{urls[0]} {urlsplit(urls[1]).path}"
    answer = await peer.send("POST", peer.url, upload_concat=final)
    assert (await peer.head(peer.location(answer))).headers["Upload-Concat"] == final


@needs("concatenation")
async def test_the_metadata_of_parts_are_not_those_of_the_final_upload(peer: Peer) -> None:
    urls = await parts_of(peer, TEXT[:HALF], TEXT[HALF:], upload_metadata=metadata(filename="p"))
    final = "final;" + " ".join(urls)
    answer = await peer.send("POST", peer.url, upload_concat=final)
    assert "Upload-Metadata" not in (await peer.head(peer.location(answer))).headers


@needs("concatenation")
async def test_a_patch_of_a_final_upload_is_403_and_changes_nothing(peer: Peer) -> None:
    urls = await parts_of(peer, TEXT[:HALF], TEXT[HALF:])
    final = "final;" + " ".join(urls)
    url = peer.location(await peer.send("POST", peer.url, upload_concat=final))
    for offset in (0, len(TEXT)):
        assert (await peer.patch(url, offset, b"x")).status == 403
    assert await peer.offset(url) == len(TEXT)


@needs("concatenation")
async def test_unfinished_parts_are_not_joined_unless_announced(peer: Peer) -> None:
    extensions = (await peer.options()).headers["Tus-Extension"].split(",")
    assert "concatenation-unfinished" not in extensions
    done, *_ = await parts_of(peer, TEXT[:HALF])
    part = await peer.create(HALF, upload_concat="partial")
    await peer.patch(part, 0, TEXT[HALF : HALF + 10])
    answer = await peer.send("POST", peer.url, upload_concat=f"final;{done} {part}")
    assert answer.status == 400
    assert await peer.offset(part) == 10  # and can be finished still
    await peer.patch(part, 10, TEXT[HALF + 10 :])
    answer = await peer.send("POST", peer.url, upload_concat=f"final;{done} {part}")
    assert answer.status == 201


@needs("concatenation")
@pytest.mark.parametrize("bad", ["final", "final;", "final; ", "part", "final;/files/x", "Partial"])
async def test_another_upload_concat_is_refused(peer: Peer, bad: str) -> None:
    assert (await peer.send("POST", peer.url, upload_concat=bad, upload_length=5)).status == 400


@needs("concatenation")
async def test_parts_may_be_empty(peer: Peer) -> None:
    """Clients that cut a small file into many parts make such."""
    empty = await peer.create(0, upload_concat="partial")
    assert (await peer.head(empty)).headers["Upload-Offset"] == "0"
    (full,) = await parts_of(peer, TEXT)
    answer = await peer.send("POST", peer.url, upload_concat=f"final;{empty} {full}")
    assert answer.status == 201
    assert await peer.offset(peer.location(answer)) == len(TEXT)
