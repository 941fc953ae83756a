"""How far a long command is: a line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time

from appliance.web.words import bytes_in_words

INTERVAL_S = 0.5


class Progress:
    def __init__(self, word: str) -> None:
        """`word`: what was done with the bytes, such as `copied`."""
        self._word = word
        self._bytes = 0
        self._told_at = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._is_shown and time.monotonic() - self._told_at > INTERVAL_S:
            self._told_at = time.monotonic()
            words = f"\r{bytes_in_words(self._bytes)} {self._word} …"
            print(words, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr)
