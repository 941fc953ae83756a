from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from appliance.ids import is_id, new_id, time_of


def test_ids_are_ulids_and_never_the_same() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_id(one) for one in ids)


def test_ids_sort_by_time() -> None:
    first = new_id()
    deadline = time.time_ns() + 3_000_000
    while time.time_ns() < deadline:
        pass
    assert first < new_id()


def test_the_time_is_in_it() -> None:
    assert abs(time_of(new_id()) - time.time()) < 1.0


@given(st.text(max_size=40))
def test_other_text_is_no_id(text: str) -> None:
    assert is_id(text) == (
        len(text) == 26
        and text[0] in "01234567"
        and all(character in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" for character in text)
    )
