from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import MultipartInvalid, TooManyParts
from appliance.web.multipart import MultipartReader, parse_disposition

BOUNDARY = b"abc-xyz"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"

# Bodies of parts that come close to a boundary, which is what a parser of pieces gets wrong.
NEARLY = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [
                b"\r",
                b"\n",
                b"\r\n",
                b"-",
                b"--",
                b"\r\n--",
                b"\r\n--abc",
                b"\r\n--abc-xy",
                b"--abc-xyz",
            ]
        ),
    ),
    max_size=12,
).map(b"".join)
PARTS = st.lists(st.tuples(st.sampled_from(["file", "priority", "Öl"]), NEARLY), max_size=4)


def body_of(parts: Iterable[tuple[str, bytes]]) -> bytes:
    written = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\nX-Size: %d\r\n\r\n%s\r\n'
        % (BOUNDARY, name.encode(), len(data), data)
        for name, data in parts
    )
    return written + b"--%s--\r\n" % BOUNDARY


async def read(pieces: Iterable[bytes]) -> list[tuple[str, str | None, bytes]]:
    """Name, size header and data of every part."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [
        (part.name, part.headers.get("x-size"), b"".join([piece async for piece in part.body()]))
        async for part in MultipartReader(CONTENT_TYPE, body()).parts()
    ]


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(PARTS, st.lists(st.integers(0, 10_000), max_size=30))
async def test_however_a_body_is_cut_its_parts_are_the_same(
    parts: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    parts = [(name, data) for name, data in parts if b"\r\n--" + BOUNDARY not in b"\r\n" + data]
    expected = [(name, str(len(data)), data) for name, data in parts]
    data = body_of(parts)
    assert await read([data]) == expected
    assert await read(split(data, cuts)) == expected
    assert await read(bytes([byte]) for byte in data) == expected


@given(PARTS, st.integers(1, 10_000))
async def test_a_body_that_ends_early_is_never_taken_for_a_whole(
    parts: list[tuple[str, bytes]], missing: int
) -> None:
    parts = [(name, data) for name, data in parts if b"\r\n--" + BOUNDARY not in b"\r\n" + data]
    data = body_of(parts).removesuffix(b"\r\n")
    with pytest.raises(MultipartInvalid):
        await read([data[: max(0, len(data) - missing)]])


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b"--abc-xyz\r\n"), NEARLY), max_size=9))
async def test_noise_is_refused_or_read_and_nothing_else(pieces: list[bytes]) -> None:
    with contextlib.suppress(MultipartInvalid, TooManyParts):
        await read(pieces)


@given(st.text(max_size=60))
def test_any_disposition_is_read_or_refused(value: str) -> None:
    for written in (value, f"form-data; {value}", f'form-data; name="{value}"'):
        try:
            kind, parameters = parse_disposition(written)
        except MultipartInvalid:
            continue
        assert kind == kind.strip().lower()
        assert all(name == name.lower() for name in parameters)


@given(st.text(st.characters(exclude_characters='"\\%'), max_size=60))
def test_a_quoted_name_is_kept_as_it_is(name: str) -> None:
    _, parameters = parse_disposition(f'form-data; name="file"; filename="{name}"')
    assert parameters == {"name": "file", "filename": name}


@pytest.mark.parametrize(
    ("written", "parameters"),
    [
        ('form-data;name="a";filename="b"', {"name": "a", "filename": "b"}),
        ('form-data ; NAME = a ; filename = "b" ; ', {"name": "a", "filename": "b"}),
        ("form-data", {}),
        ('form-data; name="a\\"b\\\\c"', {"name": 'a"b\\c'}),
        ('form-data; name="C:\\temp\\x"', {"name": "C:\\temp\\x"}),
        ('form-data; name="%22%0D%0A%41"', {"name": '"\r\n%41'}),
        ("form-data; name=a; filename*=UTF-8''%C3%A4", {"name": "a", "filename*": "ä"}),
        ("form-data; name=a; filename*=koi8-r''%C3", {"name": "a"}),
    ],
)
def test_dispositions(written: str, parameters: dict[str, str]) -> None:
    assert parse_disposition(written) == ("form-data", parameters)


@pytest.mark.parametrize(
    "written",
    ["form-data; name", 'form-data; name="a', "form-data; a=1; A=2", "form-data; a=b c", "x; =a"],
)
def test_dispositions_that_are_none(written: str) -> None:
    with pytest.raises(MultipartInvalid):
        parse_disposition(written)


@pytest.mark.timeout(10)
def test_a_disposition_takes_no_longer_than_it_is_long() -> None:
    for value in (";" * 100_000, '; a="' + "\\" * 100_000, "; a" + " " * 100_000, "; a=" * 50_000):
        with pytest.raises(MultipartInvalid):
            parse_disposition("form-data" + value + "; !")
