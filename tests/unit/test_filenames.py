from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.intake.filenames import MAX_BYTES, NAMELESS, clean, extension

# Names as strangers send them: any code point, lone surrogates included, and more of what hurts.
HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from(
            "/\\. \t\r\n\0\x7f\u0301\u0327\u200b\u200d\u202e\u2066\u2028\ufeff\U000e0041"
        ),
    ),
    max_size=300,
)


@given(HOSTILE)
@example("a\0\u0301")  # an accent that finds its letter once what stood between is gone
@example(". . a")
@example("a" * 199 + ". b")
@example("é" * 99 + " .a" + "b" * 12)
@example("." * 300)
@example(" " * 300 + "a")
@example("a" * 300 + "." + "b" * 12)
def test_every_name_is_fit_to_show_and_to_store(name: str) -> None:
    cleaned = clean(name)
    assert cleaned
    assert len(cleaned.encode()) <= MAX_BYTES
    assert not set("/\\") & set(cleaned)
    categories = {unicodedata.category(character) for character in cleaned}
    assert not categories & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    bidirectional = {unicodedata.bidirectional(character) for character in cleaned}
    assert not bidirectional & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert cleaned not in (".", "..")
    assert cleaned[0] not in ". "
    assert cleaned[-1] not in ". "
    assert unicodedata.is_normalized("NFC", cleaned)


@given(HOSTILE)
@example("a\0\u0301")
@example(". . a")
@example("a" * 199 + ". b")
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    cleaned = clean(name)
    assert clean(cleaned) == cleaned


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40))
def test_letters_and_digits_of_every_script_are_kept(name: str) -> None:
    assert clean(f"{name}.txt") == unicodedata.normalize("NFC", name) + ".txt"


@pytest.mark.parametrize("name", [None, "", "/", "..", " . ", "\0\0", "\u202e", "\ud800", "a/"])
def test_what_has_no_name_gets_one(name: str | None) -> None:
    assert clean(name) == NAMELESS


@given(st.text(min_size=200, max_size=400), st.sampled_from([".jpg", ".tar", ".JPEG", ".c"]))
def test_a_long_name_keeps_its_extension(stem: str, suffix: str) -> None:
    assert extension(clean(f"a{stem}b{suffix}")) == suffix.lower()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", ".jpg"),
        ("a.JPG", ".jpg"),
        ("a.tar.gz", ".gz"),
        ("a", ""),
        (".profile", ""),
        ("a.", ""),
        ("a.b c", ""),
        ("v1.2 final", ""),
        ("a.äöü", ""),
        ("a." + "b" * 13, ""),
        ("日本.txt", ".txt"),
    ],
)
def test_extensions(name: str, found: str) -> None:
    assert extension(name) == found
