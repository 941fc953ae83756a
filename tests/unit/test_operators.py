"""What the operators read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.database.dead_letters import Untold
from appliance.jobs import JobType
from appliance.notify.operators import MAX_CHARACTERS, TITLES, News, digest, quoted

URL = "https://files.example.org"


def a_group(**changes: object) -> Untold:
    fields = {
        "fingerprint": "f",
        "type": JobType.IMAGE,
        "error_code": "corrupt_file",
        "step": "decoding",
        "message": "The data ends too early.",
        "jobs": 1,
        "first_at": 1_000_000.0,
        "last_at": 1_000_000.0,
    }
    return Untold(**{**fields, **changes})  # type: ignore[arg-type]


def test_one_failure() -> None:
    message = digest([a_group()], [], url=URL)
    assert message.title == "Upload Appliance: 1 job failed"
    assert message.body == (
        "1 job failed for good and waits for review:\n"
        "- 1 image, 1970-01-12 13:46 UTC: The file is damaged (corrupt_file, at "
        '"decoding"): "The data ends too early."\n'
        "\n"
        "https://files.example.org/dashboard/dead-letters"
    )


def test_groups_are_told_with_their_numbers() -> None:
    failed = [
        a_group(jobs=9_800, type=JobType.VIDEO, error_code="child_crashed", step=""),
        a_group(jobs=200),
    ]
    message = digest(failed, [], url=URL)
    assert message.title == "Upload Appliance: 10,000 jobs failed"
    _, first, second, *_ = message.body.splitlines()
    assert first.startswith("- 9,800 videos, since 1970-01-12 13:46 UTC: The process that worked ")
    assert "(child_crashed)" in first
    assert second.startswith("- 200 images, since 1970-01-12 13:46 UTC: The file is damaged ")


def test_faults_come_first() -> None:
    news = [News("work on images out of order", "Out of order: work on images.")]
    message = digest([a_group()], news, url=URL)
    assert message.title == "Upload Appliance: work on images out of order; 1 job failed"
    assert message.body.startswith("Out of order: work on images.\n\n1 job failed for good ")
    message = digest([], news, url=URL)
    assert message.body == f"Out of order: work on images.\n\n{URL}/dashboard"


@pytest.mark.parametrize("groups", [1, 5, 20, 500])
@pytest.mark.parametrize("news", [0, 3, 20])
def test_any_number_of_groups_and_news_fits(groups: int, news: int) -> None:
    failed = [a_group(step="s" * 999, message="m" * 9999, jobs=7) for _ in range(groups)]
    faults = [News(f"fault {number}", f"fault {number} " + "x" * 300) for number in range(news)]
    message = digest(failed, faults, url=URL)
    assert len(message.body) <= MAX_CHARACTERS
    assert len(message.title) < 100
    assert message.body.endswith("/dashboard/dead-letters")
    lines = [line for line in message.body.splitlines() if line.startswith("- ")]
    told = sum(int(line.split()[1].replace(",", "")) for line in lines)
    assert told == groups * 7, "every job is in some line"
    if news:
        assert f"fault {news - 1} " in message.body
    assert ("earlier matters" in message.body) == (news == 20)


def test_hostile_words_are_words() -> None:
    hostile = "<!channel> @everyone [free](https://evil.example) `x`\x1b[2J\n\nAll is well.\u202e"
    body = digest([a_group(message=hostile, step=hostile)], [], url=URL).body
    for dangerous in ("<", ">", "@", "[", "]", "`", "https://evil", "\x1b", "\u202e"):
        assert dangerous not in body
    assert len(body.splitlines()) == 4


@given(text=st.text(max_size=400), characters=st.integers(2, 200))
def test_whatever_is_quoted_is_one_short_printable_line(text: str, characters: int) -> None:
    shown = quoted(text, characters)
    assert len(shown) <= characters
    assert shown.isprintable()
    assert not set("<>@[]`") & set(shown)
    assert "://" not in shown


def test_every_code_has_words() -> None:
    assert all(title and "!" not in title for title in TITLES.values())
    assert TITLES["child_timed_out"] == "The work on the file took too long"
