"""Damaged files end well, good ones are not refused: both figures side by side.

Each file is one attempt in a real nursery, behind the real walls. `make fuzz FILES=10000` is the
long form. A file that shows a fault is shrunk by hypothesis and printed; put it where the tests
of its processor are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import Report
from tests.fuzz import corpus
from tests.fuzz.conftest import Ward, files, is_long
from tests.fuzz.mutations import damaged

Of = Callable[[str], Ward]

TIMEOUT_S = 6 * 3600 if is_long() else 300

GROUPS = {
    "pictures": (corpus.PICTURES, 0.5),
    "documents": (corpus.DOCUMENTS, 0.15),
    "videos": (corpus.VIDEOS, 0.3),
    "texts": (corpus.TEXTS, 0.05),
}
"""Each with its share of all files: a video costs ten times a picture."""

WRONGLY_REFUSED = 0.005
"""The share of good files that may be, at most."""


def examples(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        derandomize=not is_long(),
    )


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("group", GROUPS)
def test_damaged_files_end_well(group: str, ward: Of, report: Report) -> None:
    samples, share = GROUPS[group]
    ends: Counter[str] = Counter()

    @examples(files(share))
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(samples))
        ends[ward(sample.kind).run(sample.content_type, data.draw(damaged(sample.make())))] += 1

    run()
    report(f"fuzz: {ends.total()} damaged {group}: {_in_words(ends)}")
    assert ends["child_timed_out"] == 0, "hung"


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize(
    ("group", "kind", "good", "share"),
    [
        ("pictures", "IMAGE", corpus.good_pictures(), 0.3),
        ("documents", "PDF", corpus.good_documents(), 0.1),
        ("videos", "VIDEO", corpus.good_videos(), 0.1),
    ],
)
def test_good_files_are_not_refused(
    group: str,
    kind: str,
    good: st.SearchStrategy[tuple[str, bytes]],
    share: float,
    ward: Of,
    report: Report,
) -> None:
    ends: Counter[str] = Counter()

    @examples(files(share))
    @given(file=good)
    def run(file: tuple[str, bytes]) -> None:
        ends[ward(kind).run(*file)] += 1

    run()
    refused = 1 - ends["completed"] / ends.total()
    report(f"fuzz: {ends.total()} good {group}: {refused:.2%} refused ({_in_words(ends)})")
    assert refused < WRONGLY_REFUSED


def _in_words(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {code}" for code, count in ends.most_common())
