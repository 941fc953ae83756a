"""Whether it is a good processor (the suite), and whether it counts right."""

from __future__ import annotations

from pathlib import Path

from appliance.conformance import ProcessorSuite, Sample

POEM = Path(__file__).parent / "poem.txt"


class TestWordCount(ProcessorSuite):
    processor = "wordcount_processor:PROCESSOR"
    samples = (
        Sample(POEM, "text/plain"),
        Sample(POEM, "text/plain", {"top": 1, "shortest": 5}),
    )

    def test_counts(self) -> None:
        outcome = self.attempt(self.samples[0]).outcome
        assert outcome is not None
        assert outcome.facts == {"wordCount": 34, "distinctWords": 25, "longestWord": "innocence"}
