from __future__ import annotations

from appliance.jobs import LEGAL_MOVES, JobStatus


def test_every_state_has_its_moves() -> None:
    assert set(LEGAL_MOVES) == set(JobStatus)


def test_final_states_have_none() -> None:
    final = {status for status in JobStatus if status.is_final}
    assert final == {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}


def test_every_state_is_reached_and_ends() -> None:
    """From PENDING everything can be reached, and from everything a final state."""
    reached, frontier = {JobStatus.PENDING}, [JobStatus.PENDING]
    while frontier:
        for status in LEGAL_MOVES[frontier.pop()] - reached:
            reached.add(status)
            frontier.append(status)
    assert reached == set(JobStatus)
    for status in JobStatus:
        ahead, frontier = {status}, [status]
        while frontier:
            for following in LEGAL_MOVES[frontier.pop()] - ahead:
                ahead.add(following)
                frontier.append(following)
        assert any(one.is_final for one in ahead)
