"""Who tries keys is slowed down, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from appliance.coordination.memory import MemoryCoordination
from appliance.errors import IssuerUnavailable, NotSignedIn, TooManyAttempts
from appliance.web import guesses
from appliance.web.guesses import WRONG, WRONG_TOKENS, Guess, Guesses
from tests.clocks import MovedClock

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
BURST, INTERVAL_S = WRONG.count, WRONG.interval_s


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def counted(clock: MovedClock) -> Guesses:
    return Guesses(MemoryCoordination(clock))


async def nothing() -> str | None:
    return None


async def something() -> str | None:
    return "somebody"


async def guess(counted: Guesses, secret: str, address: str | None = HOME) -> bool:
    """Whether the attempt, a wrong one, is looked up."""
    try:
        assert await counted.look_up(Guess.of_key(address, secret), nothing) is None
    except TooManyAttempts as refusal:
        return not 0 < (refusal.retry_after_s or 0) <= INTERVAL_S
    return True


async def use_up(counted: Guesses, address: str = HOME) -> None:
    for number in range(BURST):
        assert await guess(counted, f"upa_{number:06}", address)


async def test_after_a_handful_one_attempt_in_six_seconds(
    counted: Guesses, clock: MovedClock
) -> None:
    await use_up(counted)
    for _ in range(3):
        assert not await guess(counted, "upa_another")
        clock.pass_time(INTERVAL_S)
        assert await guess(counted, "upa_another")
    clock.pass_time(BURST * INTERVAL_S)
    await use_up(counted)


async def test_a_refused_attempt_costs_nothing(counted: Guesses, clock: MovedClock) -> None:
    await use_up(counted)
    for _ in range(100):
        assert not await guess(counted, "upa_another")
    clock.pass_time(INTERVAL_S)
    assert await guess(counted, "upa_another")


async def test_who_knows_a_beginning_does_not_use_up_an_address(counted: Guesses) -> None:
    """Refused for the one name it is counted by, it costs nothing by the other either."""
    for number in range(BURST):
        assert await guess(counted, f"upa_abcdef{number}", f"203.0.113.{number}")
    for number in range(BURST * 2):
        assert not await guess(counted, f"upa_abcdef_{number}", HOME)
    await use_up(counted)


async def test_each_address_is_counted_for_itself(counted: Guesses) -> None:
    await use_up(counted)
    assert await guess(counted, "upa_000000", ELSEWHERE)
    assert await guess(counted, "upa_zzzzzz", None)
    await use_up(counted, "2001:db8::1")
    assert not await guess(counted, "upa_another", "2001:db8::2")  # one network, one customer


async def test_one_key_is_not_guessed_from_many_addresses(counted: Guesses) -> None:
    tries = [await guess(counted, f"upa_abcdef{n}", f"203.0.113.{n}") for n in range(BURST + 5)]
    assert tries == [True] * BURST + [False] * 5


async def test_a_right_key_is_given_back_and_never_held_up(counted: Guesses) -> None:
    for number in range(BURST * 3):
        right = Guess.of_key(HOME, f"upa_right-key-{number}")
        assert await counted.look_up(right, something) == "somebody"
    await use_up(counted)
    assert not await guess(counted, "upa_another")
    right = Guess.of_key(HOME, "upa_right-key-0")
    assert await counted.look_up(right, something) == "somebody"
    assert await guess(counted, "upa_right-key-0", ELSEWHERE)


async def test_tokens_are_counted_by_address_only(counted: Guesses) -> None:
    """All of them begin alike."""

    async def refused() -> str | None:
        raise NotSignedIn

    for number in range(WRONG_TOKENS.count):
        with pytest.raises(NotSignedIn):
            await counted.look_up(Guess.of_token(HOME, f"eyJhbGciOiJIUzI1{number}"), refused)
    with pytest.raises(TooManyAttempts):
        await counted.look_up(Guess.of_token(HOME, "eyJhbGciOiJIUzI1-"), refused)
    with pytest.raises(NotSignedIn):
        await counted.look_up(Guess.of_token(ELSEWHERE, "eyJhbGciOiJIUzI1-"), refused)
    await use_up(counted)  # keys are counted apart


async def test_what_could_not_be_looked_up_is_given_back(counted: Guesses) -> None:
    async def unavailable() -> str | None:
        raise IssuerUnavailable

    for number in range(BURST * 3):
        with pytest.raises(IssuerUnavailable):
            await counted.look_up(Guess.of_key(HOME, f"upa_{number:06}"), unavailable)
    await use_up(counted)


async def test_one_secret_many_times_at_once_is_one_attempt(counted: Guesses) -> None:
    asked = 0

    async def found() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "somebody"

    one = Guess.of_token(HOME, "eyJ")
    assert (
        await asyncio.gather(*(counted.look_up(one, found) for _ in range(100)))
        == ["somebody"] * 100
    )
    assert asked == 1


async def test_what_is_remembered_has_an_end(
    counted: Guesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "MOST", 50)
    for number in range(500):
        await counted.look_up(Guess.of_key(HOME, f"upa_{number:06}"), something)
    assert len(counted._right) == 50
