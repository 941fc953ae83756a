"""What people read: figures, spans, names of those who did it, how a redrive goes."""

from __future__ import annotations

import pytest

from appliance.database.dead_letters import Filter
from appliance.database.redrives import Counts, Redrive, State
from appliance.jobs import JobType
from appliance.web import words
from appliance.web.failures import selection, title
from appliance.web.redrive_panel import outcome


def a_redrive(state: State, *, staged: bool, wave: int, counts: Counts, now: Counts) -> Redrive:
    ended_at = None if state == "running" else 2.0
    return Redrive("r", "key:A", 1.0, ended_at, state, staged, wave, Filter(), counts, now)


@pytest.mark.parametrize(
    ("redrive", "told"),
    [
        (
            a_redrive(
                "running", staged=True, wave=2,
                counts=Counts(total=250, waiting=239, running=3, completed=8),
                now=Counts(total=10, running=3, completed=7),
            ),
            "Wave 2: 7 of 10 done, none failed again.",
        ),
        (
            # The last wave is as small as what is left; a large one is begun bit by bit.
            a_redrive(
                "running", staged=True, wave=4,
                counts=Counts(total=511, waiting=200, running=200, completed=111),
                now=Counts(total=200, running=200),
            ),
            "Wave 4: 0 of 400 done, none failed again.",
        ),
        (
            a_redrive(
                "running", staged=True, wave=2,
                counts=Counts(total=11, completed=7, failed=1, running=2, other=1),
                now=Counts(total=10, completed=6, failed=1, running=2, other=1),
            ),
            "Wave 2: 6 of 9 done, 1 failed again, 1 cancelled, discarded or deleted.",
        ),
        (
            a_redrive("running", staged=True, wave=0, counts=Counts(total=9, waiting=9),
                      now=Counts()),
            "It begins in a moment.",
        ),
        (
            a_redrive(
                "running", staged=False, wave=1,
                counts=Counts(total=1200, waiting=1000, running=100, completed=98, failed=2),
                now=Counts(total=200, running=100, completed=98, failed=2),
            ),
            "98 of 1,200 done, 2 failed again.",
        ),
        (
            a_redrive(
                "stopped", staged=True, wave=1,
                counts=Counts(total=241, waiting=240, failed=1),
                now=Counts(total=1, failed=1),
            ),
            "Stopped by itself: 1 of 1 failed again; 240 were not begun.",
        ),
        (
            a_redrive(
                "stopped", staged=True, wave=2,
                counts=Counts(total=12, waiting=1, failed=1, completed=4, running=6),
                now=Counts(total=10, failed=1, completed=3, running=6),
            ),
            "Stopped by itself: 1 of 10 failed again, 6 still under way; 1 was not begun.",
        ),
        (
            a_redrive("completed", staged=False, wave=1, counts=Counts(total=3, completed=3),
                      now=Counts(total=3, completed=3)),
            "3 of 3 done, none failed again.",
        ),
        (
            a_redrive("completed", staged=False, wave=0, counts=Counts(), now=Counts()),
            "There was nothing to try again.",
        ),
    ],
)  # fmt: skip
def test_how_a_redrive_goes(redrive: Redrive, told: str) -> None:
    assert outcome(redrive) == told


def test_which_dead_letters_a_filter_takes() -> None:
    names = {"key:A": "ada"}
    assert selection(Filter(), names) == "all jobs"
    assert selection(Filter(ids=("a",)), names) == "1 chosen job"
    assert selection(Filter(type=JobType.VIDEO, owner="key:A", code="corrupt_file"), names) == (
        "videos of ada that failed with corrupt_file"
    )
    assert selection(Filter(owner="key:B"), names) == "all jobs of key:B"


def test_failures_have_names() -> None:
    assert title("corrupt_file") == "The file is damaged"
    assert title("of_another_version") == "It failed with of_another_version"


def test_who_did_it() -> None:
    assert words.actor("key:A", {"key:A": "ada"}) == "ada"
    assert words.actor("key:B", {"key:A": "ada"}) == "key:B"
    assert words.actor("shell:root", {}) == "root, in a shell"
    assert words.actor("system", {}) == "the appliance"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "1 min"), (59, "1 min"), (3540, "59 min"), (3599, "1 h"), (28790, "8 h"),
     (5400, "1 h 30 min"), (86400 * 1.5, "36 h"), (86400 * 3, "3 days")],
)  # fmt: skip
def test_how_long_it_lasts(seconds: float, told: str) -> None:
    assert words.span(seconds) == told


def test_what_others_wrote_is_made_fit() -> None:
    assert words.plain("a\x00b\x1b[31m\u202egpj\u2066.exe\r\nc\td") == (
        "a\ufffdb\ufffd[31m\ufffdgpj\ufffd.exe\nc\td"
    )
    assert words.plain("Über den Hügel – 日本 عربي 🙂") == "Über den Hügel – 日本 عربي 🙂"


def test_sentences_and_counts() -> None:
    assert words.sentence("up to 3: many queued") == "Up to 3: many queued."
    assert words.sentence("PDFs wait.") == "PDFs wait."
    assert words.sentence("") == "."
    assert (words.count(1, "job"), words.count(2400, "job")) == ("1 job", "2,400 jobs")
