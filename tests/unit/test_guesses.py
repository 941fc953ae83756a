"""Who tries keys is slowed down, and nobody else."""

from __future__ import annotations

import pytest

from appliance.errors import TooManyAttempts
from appliance.web import guesses
from appliance.web.guesses import BURST, INTERVAL_S, Guesses
from tests.clocks import MovedClock

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def counted(clock: MovedClock) -> Guesses:
    return Guesses(clock)


def guess(counted: Guesses, secret: str, address: str | None = HOME) -> bool:
    """Whether the attempt may be looked up."""
    try:
        counted.charge(address, secret, f"hash of {secret}")
    except TooManyAttempts as refusal:
        return not 0 < (refusal.retry_after_s or 0) <= INTERVAL_S
    return True


def use_up(counted: Guesses, address: str = HOME) -> None:
    assert all(guess(counted, f"upa_{number:06}", address) for number in range(BURST))


def test_after_a_handful_one_attempt_in_six_seconds(counted: Guesses, clock: MovedClock) -> None:
    use_up(counted)
    for _ in range(3):
        assert not guess(counted, "upa_another")
        clock.pass_time(INTERVAL_S)
        assert guess(counted, "upa_another")
    clock.pass_time(BURST * INTERVAL_S)
    use_up(counted)


def test_a_refused_attempt_costs_nothing(counted: Guesses, clock: MovedClock) -> None:
    use_up(counted)
    assert not any(guess(counted, "upa_another") for _ in range(100))
    clock.pass_time(INTERVAL_S)
    assert guess(counted, "upa_another")


def test_each_address_is_counted_for_itself(counted: Guesses) -> None:
    use_up(counted)
    assert guess(counted, "upa_000000", ELSEWHERE)
    assert guess(counted, "upa_zzzzzz", None)
    use_up(counted, "2001:db8::1")
    assert not guess(counted, "upa_another", "2001:db8::2")  # one network, one customer


def test_one_key_is_not_guessed_from_many_addresses(counted: Guesses) -> None:
    tries = [guess(counted, f"upa_abcdef{n}", f"203.0.113.{n}") for n in range(BURST + 5)]
    assert tries == [True] * BURST + [False] * 5


def test_a_right_key_is_given_back_and_never_held_up(counted: Guesses) -> None:
    for _ in range(BURST * 3):
        assert guess(counted, "upa_right-key")
        counted.was_right(HOME, "upa_right-key", "hash of upa_right-key")
    use_up(counted)
    assert not guess(counted, "upa_another")
    assert guess(counted, "upa_right-key")
    assert guess(counted, "upa_right-key", ELSEWHERE)


def test_what_is_remembered_has_an_end(counted: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "MOST", 50)
    for number in range(500):
        address = f"203.0.113.{number % 250}"
        guess(counted, f"upa_{number:06}", address)
        counted.was_right(address, f"upa_{number:06}", f"hash {number}")
    assert len(counted._paid_until) <= 50
    assert len(counted._right) <= 50
