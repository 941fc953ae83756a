"""POST /upload with multipart/form-data: the form as browsers and curl send it, and as nobody
should."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata

import pytest

from appliance.storage import local
from appliance.web.multipart import MAX_FIELD_BYTES, MAX_PART_HEADERS, MAX_PARTS
from tests import media
from tests.conftest import Serve
from tests.web.wire import (
    BOUNDARY,
    END,
    FORM_TYPE,
    exchange,
    field_part,
    file_part,
    files_of,
    form,
    is_refusal,
    left_nothing,
    part,
    post_form,
    until,
    wire,
)

PHOTO = media.jpeg(64, 48)
ELF = b"\x7fELF\x02\x01\x01" + bytes(5000)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


# --- what is taken -----------------------------------------------------------------------


async def test_a_file_becomes_a_job_and_lies_where_the_diagrams_say(serve: Serve) -> None:
    served = await serve()
    answer = await post_form(served, form(file_part("cat.jpg", PHOTO, "Content-Type: image/jpeg")))
    job = answer.json()
    assert answer.status == 202
    assert answer.headers["Location"] == job["statusUrl"] == f"/status/{job['jobId']}"
    assert files_of(served) == {f"raw/{job['jobId']}/cat.jpg"}
    stored = (served.data_dir / "files" / "raw" / job["jobId"] / "cat.jpg").read_bytes()
    assert stored == PHOTO
    expected = {
        "status": "PENDING", "type": "IMAGE", "filename": "cat.jpg", "contentType": "image/jpeg",
        "sizeBytes": len(PHOTO), "sha256": sha256(PHOTO), "preset": "default", "priority": 5,
        "attempt": 0, "maxAttempts": 4, "progress": 0.0, "startedAt": None, "finishedAt": None,
        "error": None, "metadata": {}, "result": {}, "files": [],
    }  # fmt: skip
    assert {name: job[name] for name in expected} == expected
    assert job["scan"] == {"verdict": "not_scanned", "reason": "no scanner is set"}
    assert await served.json("GET", job["statusUrl"]) == job


TYPES = [
    ("a.jpg", PHOTO, "IMAGE", "image/jpeg"),
    ("a.png", media.png(32, 24), "IMAGE", "image/png"),
    ("a.webp", media.webp(32, 24), "IMAGE", "image/webp"),
    ("a.gif", media.gif(32, 24), "IMAGE", "image/gif"),
    ("a.tiff", media.tiff(32, 24), "IMAGE", "image/tiff"),
    ("a.pdf", media.pdf(1), "PDF", "application/pdf"),
    ("a.mp4", media.mp4(1, 64, 48), "VIDEO", "video/mp4"),
    ("a.txt", "Größe\n".encode(), "ANY", "text/plain"),
    ("a.csv", b"a,b\n1,2\n", "ANY", "text/plain"),
]


async def test_the_content_says_what_a_file_is(serve: Serve) -> None:
    served = await serve()
    for name, data, job_type, content_type in TYPES:
        job = (await post_form(served, form(file_part(name, data)))).json()
        assert (job["type"], job["contentType"]) == (job_type, content_type)
        assert job["sha256"] == sha256(data)


async def test_several_files_are_several_jobs(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.jpg", PHOTO), file_part("b.txt", b"words"), file_part("a.jpg", PHOTO))
    answer = await post_form(served, body)
    assert answer.status == 202
    found = answer.json()["jobs"]
    assert [job["filename"] for job in found] == ["a.jpg", "b.txt", "a.jpg"]
    assert files_of(served) == {f"raw/{job['jobId']}/{job['filename']}" for job in found}
    assert len({job["jobId"] for job in found}) == 3


@pytest.mark.parametrize("first", [True, False])
async def test_wishes_are_kept_wherever_they_stand(serve: Serve, first: bool) -> None:
    served = await serve()
    wishes = [
        field_part("priority", "9"),
        field_part("preset", "default"),
        field_part("metadata", json.dumps({"album": "Öland", "n": [1, None]})),
    ]
    photo = file_part("a.jpg", PHOTO)
    job = (await post_form(served, form(*([*wishes, photo] if first else [photo, *wishes])))).json()
    assert (job["priority"], job["preset"]) == (9, "default")
    assert job["metadata"] == {"album": "Öland", "n": [1, None]}


async def test_a_browsers_form_is_sent_back_to_the_page(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.jpg", PHOTO))
    answer = await exchange(
        served, "POST /upload", f"Content-Type: {FORM_TYPE}", f"Content-Length: {len(body)}",
        "Accept: text/html,*/*", body=body,
    )  # fmt: skip
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert len(files_of(served)) == 1


async def test_what_rfc_2046_allows_around_the_parts(serve: Serve) -> None:
    served = await serve()
    whole = form(file_part("a.txt", b"words"))
    for body in (whole + b"an epilogue\r\n", b"\r\n" + whole, whole.removesuffix(b"\r\n")):
        answer = await post_form(served, body)
        assert answer.status == 202, body
        assert answer.json()["sizeBytes"] == 5


async def test_a_form_may_come_chunked_and_in_any_pieces(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.jpg", PHOTO), field_part("priority", "1"))
    async with wire(served) as connection:
        await connection.head(
            "POST /upload", f"Content-Type: {FORM_TYPE}", "Transfer-Encoding: chunked"
        )
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            await connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")
        answer = await connection.answer()
    assert answer.status == 202
    assert (answer.json()["sha256"], answer.json()["priority"]) == (sha256(PHOTO), 1)


# --- all or nothing ----------------------------------------------------------------------

REFUSED_PARTS = [
    (file_part("b.exe", b"MZ" + bytes(100)), 415, "file_type_refused"),
    (file_part("b", ELF), 415, "file_type_refused"),
    (file_part("b.png", PHOTO), 415, "file_type_mismatch"),
    (file_part("b.txt", b""), 400, "empty_file"),
    (file_part("b.txt", b"a" * 7000), 413, "file_too_large"),
    (file_part("b.txt", b"a", f"Content-Digest: {digest(b'b')}"), 400, "digest_mismatch"),
    (part('name="file"', b"no name"), 400, "multipart_invalid"),
    (field_part("colour", "red"), 400, "bad_request"),
    (field_part("callbackUrl", "https://127.0.0.1/"), 400, "bad_request"),
    (field_part("priority", "high"), 400, "bad_request"),
    (field_part("metadata", "[1]"), 400, "bad_request"),
]


async def test_a_refused_part_takes_the_files_before_it_along(serve: Serve) -> None:
    served = await serve(max_upload_bytes="6000")
    for second, status, code in REFUSED_PARTS:
        answer = await post_form(served, form(file_part("a.txt", b"words"), second))
        is_refusal(answer, status, code)
        await left_nothing(served)


# --- what is not a form ------------------------------------------------------------------

WITHOUT_A_FILE = [
    (b"", "multipart_invalid"),
    (b"\r\n", "multipart_invalid"),
    (END, "no_file"),
    (form(field_part("priority", "1")), "no_file"),
    (form(part('name="file"; filename=""', b"")), "no_file"),
    (form(part('name="file"', b"")), "no_file"),
    (form(part('name="file"; filename=""', b"bytes")), "multipart_invalid"),
    (form(part('name="upload"; filename="a.txt"', b"words")), "bad_request"),
    (b"just some text", "multipart_invalid"),
    (file_part("a.txt", b"words"), "multipart_invalid"),
    (file_part("a.txt", b"words") + b"--another-boundary--\r\n", "multipart_invalid"),
    (file_part("a.txt", b"words") + END[:-6], "multipart_invalid"),
    (f"--{BOUNDARY}\r\nContent-Dispos".encode(), "multipart_invalid"),
    (f"--{BOUNDARY}\r\n\r\nwords\r\n".encode() + END, "multipart_invalid"),
    (f"--{BOUNDARY}\r\nContent-Disposition\r\n\r\n".encode() + END, "multipart_invalid"),
    (
        f"--{BOUNDARY}\r\nContent-Disposition: attachment; filename=a\r\n\r\n\r\n".encode() + END,
        "multipart_invalid",
    ),
    (form(part("filename=a.txt", b"words")), "multipart_invalid"),
    (form(part('name="file"; filename="a.txt', b"words")), "multipart_invalid"),
    (form(part('name="file"; filename="a"; filename="b"', b"words")), "multipart_invalid"),
    (form(part('name="file"; filename=a b.txt', b"words")), "multipart_invalid"),
]


async def test_bodies_that_hold_no_file(serve: Serve) -> None:
    served = await serve()
    for body, code in WITHOUT_A_FILE:
        is_refusal(await post_form(served, body), 400, code)
        await left_nothing(served)


async def test_no_usable_boundary(serve: Serve) -> None:
    served = await serve()
    for parameters in ("", "; boundary=", '; boundary=""', "; boundary=" + "b" * 71, "; q=1"):
        body = form(file_part("a.txt", b"words"))
        answer = await post_form(served, body, f"multipart/form-data{parameters}")
        assert "boundary" in is_refusal(answer, 400, "multipart_invalid")["detail"]
    await left_nothing(served)


async def test_boundaries_as_the_grammar_allows_them(serve: Serve) -> None:
    served = await serve()
    for content_type in (
        f"Multipart/Form-Data; Boundary={BOUNDARY}",
        f'multipart/form-data; boundary="{BOUNDARY}"; charset=utf-8',
    ):
        answer = await post_form(served, form(file_part("a.txt", b"words")), content_type)
        assert answer.status == 202


async def test_a_form_cut_off_by_a_lost_connection_leaves_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SMALL_BYTES", 0)  # what little there is goes to a file at once
    served = await serve()
    async with wire(served) as connection:
        await connection.head(
            "POST /upload", f"Content-Type: {FORM_TYPE}", "Content-Length: 1000000"
        )
        await connection.send(file_part("a.txt", b"whole") + file_part("b.jpg", PHOTO)[:-100])
        await until(lambda: len(files_of(served)) == 2)
        connection.abort()
        await left_nothing(served)


# --- more than anybody needs -------------------------------------------------------------


@pytest.mark.parametrize(
    "one", [field_part("metadata", "{}"), file_part("a.txt", b"a")], ids=["fields", "files"]
)
async def test_ten_thousand_parts(serve: Serve, one: bytes) -> None:
    served = await serve()
    is_refusal(await post_form(served, form(*[one] * 10_000)), 413, "too_many_parts")
    await left_nothing(served)


async def test_as_many_parts_as_are_allowed(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.txt", b"a"), *[field_part("priority", "1")] * (MAX_PARTS - 1))
    assert (await post_form(served, body)).status == 202


async def test_header_bombs_in_a_part(serve: Serve) -> None:
    served = await serve()
    for headers in (
        ["X-Long: " + "a" * 1_000_000],
        ["X" * 1_000_000 + ": a"],
        [f"X-{number}: a" for number in range(MAX_PART_HEADERS)],  # one more than are allowed
        [f"X-{number}: a" for number in range(10_000)],
    ):
        answer = await post_form(served, form(file_part("a.txt", b"words", *headers)))
        is_refusal(answer, 400, "multipart_invalid")
        await left_nothing(served)
    headers = [f"X-{number}: a" for number in range(MAX_PART_HEADERS - 1)]
    answer = await post_form(served, form(file_part("a.txt", b"words", *headers)))
    assert answer.status == 202


UNFULFILLABLE: list[tuple[str, str | bytes, str]] = [
    ("priority", "10", "bad_request"),
    ("priority", "-1", "bad_request"),
    ("priority", "1.5", "bad_request"),
    ("priority", "٣", "bad_request"),
    ("preset", "nobody-made-this", "bad_request"),
    ("metadata", "{", "bad_request"),
    ("metadata", "null", "bad_request"),
    ("metadata", '["a"]', "bad_request"),
    ("metadata", '{"a": NaN}', "bad_request"),
    ("metadata", '{"a":' * 2000 + "1" + "}" * 2000, "bad_request"),
    ("metadata", b'{"a": "\xff"}', "multipart_invalid"),
    ("metadata", f'{{"a": "{"a" * MAX_FIELD_BYTES}"}}', "multipart_invalid"),
    ("priority", "1" * 1_000_000, "multipart_invalid"),
]


async def test_wishes_that_cannot_be_met(serve: Serve) -> None:
    served = await serve()
    for name, value, code in UNFULFILLABLE:
        body = form(field_part(name, value), file_part("a.txt", b"words"))
        assert name in is_refusal(await post_form(served, body), 400, code)["detail"]
        await left_nothing(served)


# --- names -------------------------------------------------------------------------------


NAMES = [
    ("../../etc/passwd", "passwd"),
    ("/etc/passwd", "passwd"),
    (r"C:\temp\new.txt", "new.txt"),
    (r"..\..\boot.txt", "boot.txt"),
    ("..", "unnamed"),
    (".", "unnamed"),
    ("...", "unnamed"),
    ("/", "unnamed"),
    (" \t ", "unnamed"),
    (".profile", "profile"),
    (" a .txt. ", "a .txt"),
    ("a\0b\x1b[31m.txt", "ab[31m.txt"),
    ("photo\u202egpj.txt", "photogpj.txt"),
    ("a\u2028b\u2066c.txt", "abc.txt"),
    ("a;b;c;d.txt", "a;b;c;d.txt"),
    ("100%.txt", "100%.txt"),
    ("a%22b%0D%0AX-Evil: 1.txt", 'a"bX-Evil: 1.txt'),
    (r"a\"b.txt", 'a"b.txt'),
    ("<script>alert(1)</script>.txt", "script>.txt"),
    ("Ünïcode – 日本語 🏝️.txt", "Ünïcode – 日本語 🏝️.txt"),
    ("עברית العربية.txt", "עברית العربية.txt"),
    ("e\u0301.txt", "é.txt"),
    ("👨‍👩‍👧.txt", "👨‍👩‍👧.txt"),
    ("ä" * 150 + ".txt", "ä" * 98 + ".txt"),
    ("CON", "CON"),
    ("-rf", "-rf"),
    ("$(reboot) `id` *?.txt", "$(reboot) `id` *?.txt"),
]


async def test_hostile_names_are_cleaned_and_stay_in_their_place(serve: Serve) -> None:
    served = await serve()
    for sent, kept in NAMES:
        answer = await post_form(served, form(file_part(sent, b"words")))
        assert answer.status == 202, answer.body
        job = answer.json()
        assert job["filename"] == kept
        assert unicodedata.is_normalized("NFC", job["filename"])
        assert f"raw/{job['jobId']}/{kept}" in files_of(served)
        assert not [path for path in served.data_dir.parent.iterdir() if path != served.data_dir]


async def test_a_name_of_ten_thousand_characters_is_too_long_for_a_part(serve: Serve) -> None:
    served = await serve()
    answer = await post_form(served, form(file_part("a" * 10_000 + ".txt", b"words")))
    is_refusal(answer, 400, "multipart_invalid")
    await left_nothing(served)


WAYS_TO_WRITE_A_NAME = [
    ("filename=\"x.txt\"; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
    ("filename*=utf-8'en'%C3%A4.txt; filename=x.txt", "ä.txt"),
    ("filename*=iso-8859-1''%e4.txt", "ä.txt"),
    ("filename*=UTF-8''..%2F..%2Fa.txt", "a.txt"),
    ("filename=x.txt; filename*=no-such-charset''a.txt", "x.txt"),
    ("filename=x.txt; filename*=UTF-8''%ff.txt", "x.txt"),
    ("filename=x.txt; filename*=nonsense", "x.txt"),
    ("filename=x.txt;", "x.txt"),
    ('FILENAME = "x.txt"', "x.txt"),
]


async def test_other_ways_to_write_a_name(serve: Serve) -> None:
    served = await serve()
    for parameters, kept in WAYS_TO_WRITE_A_NAME:
        answer = await post_form(served, form(part(f'name="file"; {parameters}', b"words")))
        assert answer.status == 202, answer.body
        assert answer.json()["filename"] == kept


async def test_a_name_that_is_not_utf_8_is_still_a_name(serve: Serve) -> None:
    served = await serve()
    body = form(part(b'name="file"; filename="caf\xe9.txt"', b"words"))
    assert (await post_form(served, body)).json()["filename"] == "caf�.txt"


# --- digests -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
async def test_a_part_is_held_to_its_digest(serve: Serve, name: str) -> None:
    served = await serve()
    right = file_part("a.txt", b"words", f"{name}: {digest(b'words')}")
    wrong = file_part("a.txt", b"words", f"{name}: {digest(b'other')}")
    malformed = file_part("a.txt", b"words", f"{name}: sha-256=:d29yZHM=:")
    is_refusal(await post_form(served, form(wrong)), 400, "digest_mismatch")
    is_refusal(await post_form(served, form(malformed)), 400, "bad_request")
    await left_nothing(served)
    assert (await post_form(served, form(right))).status == 202


async def test_the_whole_body_is_held_to_its_digest(serve: Serve) -> None:
    served = await serve()
    body = form(file_part("a.txt", b"words"))

    async def post(content_digest: str) -> int:
        answer = await exchange(
            served, "POST /upload", f"Content-Type: {FORM_TYPE}",
            f"Content-Length: {len(body)}", f"Content-Digest: {content_digest}", body=body,
        )  # fmt: skip
        if answer.status != 202:
            is_refusal(answer, 400, "digest_mismatch")
            await left_nothing(served)
        return answer.status

    assert await post(digest(b"words")) == 400  # of the file, not of the body
    assert await post(digest(body)) == 202
