"""A processor for the Upload Appliance: counts the words of a text.

Facts: wordCount, distinctWords, longestWord. Result: `words.csv`, the most frequent words.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from appliance.errors import LimitExceeded
from appliance.processors.protocol import Reporter, Task

BLOCK_BYTES = 1024 * 1024
MAX_DISTINCT_WORDS = 1_000_000
"""100 MB of counters: a text has fewer, a file of random letters must not fill the memory."""
MAX_WORD_CHARACTERS = 100
"""What is longer is no word, and is counted in pieces."""

WORD = re.compile(rf"[^\W_]{{1,{MAX_WORD_CHARACTERS}}}")


class WordCountOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[wordcount]`."""

    top: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    """How many words `words.csv` lists."""
    shortest: Annotated[int, msgspec.Meta(ge=1, le=MAX_WORD_CHARACTERS)] = 1
    """Words with fewer letters are left out."""


class WordCountProcessor:
    """See `appliance.processors.protocol.Processor`."""

    name = "wordcount"
    version = "1"
    content_types = ("text/plain",)
    options = WordCountOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Use once what `process` uses: a child can load nothing any more."""
        for encoding in ("utf-8", "utf-16"):
            codecs.getincrementaldecoder(encoding)("replace").decode(b"", final=True)
        Counter(WORD.findall("one two"))

    def process(self, task: Task[WordCountOptions], report: Reporter) -> dict[str, Any]:
        counts = count(task.input_path, task.options.shortest, report)
        report.progress(0.95, "writing")
        table = task.output_dir / "words.csv"
        write_table(table, counts.most_common(task.options.top))
        report.output(table.name, "text/csv")
        report.progress(1.0, "writing")
        return {
            "wordCount": counts.total(),
            "distinctWords": len(counts),
            "longestWord": max(counts, key=len, default=None),
        }


def count(path: Path, shortest: int, report: Reporter) -> Counter[str]:
    """How often each word is there, in lower case. Raises LimitExceeded."""
    counts: Counter[str] = Counter()
    size_bytes = max(1, path.stat().st_size)
    report.progress(0.0, "counting")
    for text, read_bytes in pieces(path):
        counts.update(word for word in WORD.findall(text.lower()) if len(word) >= shortest)
        if len(counts) > MAX_DISTINCT_WORDS:
            raise LimitExceeded(f"The text has more than {MAX_DISTINCT_WORDS:,} different words.")
        report.progress(0.95 * min(1.0, read_bytes / size_bytes), "counting")
    return counts


def pieces(path: Path) -> Iterator[tuple[str, int]]:
    """The text in pieces that end between two words, and how many bytes were read so far."""
    with path.open("rb") as file:
        mark = file.read(2)
        file.seek(0)
        utf16 = mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        decoder = codecs.getincrementaldecoder("utf-16" if utf16 else "utf-8")("replace")
        rest, read_bytes = "", 0
        while block := file.read(BLOCK_BYTES):
            read_bytes += len(block)
            text = rest + decoder.decode(block)
            cut = max(text.rfind(" "), text.rfind("\n"), len(text) - MAX_WORD_CHARACTERS)
            yield text[:cut], read_bytes
            rest = text[cut:]
        yield rest + decoder.decode(b"", final=True), read_bytes


def write_table(path: Path, words: list[tuple[str, int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("word", "count"))
        table.writerows(words)


PROCESSOR = WordCountProcessor()
