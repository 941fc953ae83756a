"""What the self-test found, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from appliance.selftest.disk import Disk
from appliance.selftest.ledger import Ledger
from appliance.selftest.recovery import Spread, Strike
from appliance.selftest.verifier import Findings

MOST_REASONS = 20
WIDTH = 40


@dataclass
class Report:
    directory: str
    ledger: Ledger = field(default_factory=Ledger)
    findings: Findings = field(default_factory=Findings)
    disk: Disk | None = None
    strikes: list[Strike] = field(default_factory=list)
    resumed: list[tuple[Strike, float]] = field(default_factory=list)
    handed_back: int = 0
    """Jobs that SIGTERM interrupted."""
    damage: tuple[int, int] | None = None
    """Files that were damaged on purpose, and how many of them the verification found."""
    skipped: list[str] = field(default_factory=list)
    """What could not be tried, and why."""
    faults: list[str] = field(default_factory=list)
    """What else is not as it must be."""
    took_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        """A line each; none: passed."""
        answers = [f"answered otherwise: {line}" for line in self.ledger.unexpected]
        return self.faults + self.findings.reasons + answers

    @property
    def counts(self) -> dict[str, int]:
        """Of what must not be; in the order of the table."""
        findings = self.findings
        return {
            "lost": len(findings.lost),
            "altered": len(findings.altered),
            "stuck": len(findings.stuck),
            "failed": len(findings.failed),
            "twice": len(findings.twice),
            "unchecked": len(findings.unchecked),
            "unexpected": len(self.ledger.unexpected),
        }

    @property
    def recoveries(self) -> dict[str, Spread]:
        """By what was waited for; what was not measured is left out."""
        values = {
            "server_exec_to_ready": [s.start_s for s in self.strikes],
            "server_kill_to_ready": [s.ready_s for s in self.strikes if s.victim == "server"],
            "nursery_kill_to_ready": [s.ready_s for s in self.strikes if s.victim == "nursery"],
        } | {
            f"{victim}_kill_to_jobs_going_on": [s for k, s in self.resumed if k.victim == victim]
            for victim in ("server", "nursery", "child")
        }
        spreads = {
            name: Spread.of(value for value in measured if value is not None)
            for name, measured in values.items()
        }
        return {name: spread for name, spread in spreads.items() if spread is not None}

    # --- for people -------------------------------------------------------------------------

    def lines(self) -> list[str]:
        return [*self._table(), *self._recovery_table(), "", *self._verdict()]

    def _table(self) -> list[str]:
        counts = self.counts
        rows: list[tuple[str, object, str]] = [
            ("uploads acknowledged", len(self.ledger.entries), _size(self.ledger.size_bytes)),
            ("lost", counts["lost"], ""),
            ("altered", counts["altered"], self._on_purpose()),
            ("jobs stuck", counts["stuck"], ""),
            ("jobs failed", counts["failed"], ""),
            ("results seen twice", counts["twice"], ""),
        ]
        if counts["unchecked"]:
            rows.append(("not read back in time", counts["unchecked"], ""))
        if counts["unexpected"]:
            rows.append(("answered otherwise", counts["unexpected"], ""))
        if self.strikes:
            victims = Counter(strike.victim for strike in self.strikes)
            kinds = ", ".join(f"{victim} {victims[victim]}" for victim in sorted(victims))
            rows += [
                ("kills", len(self.strikes), kinds),
                ("uploads broken off", self.ledger.broken_off, "nothing was promised"),
                ("handed back at SIGTERM", self.handed_back, "tried again, no retry counted"),
                ("uploads refused", self.ledger.refused, "503 or 507: disk full, or stopping"),
            ]
        lines = (f"{name:<{WIDTH}}{value:>6}  {aside}" for name, value, aside in rows)
        return ["", *(line.rstrip() for line in lines)]

    def _on_purpose(self) -> str:
        if self.damage is None:
            return ""
        done, found = self.damage
        return f"besides the {done} damaged on purpose, of which {found} found"

    def _recovery_table(self) -> list[str]:
        if not self.recoveries:
            return []
        head = f"{'recovery, in seconds':<{WIDTH}}{'times':>6}{'p50':>8}{'p99':>8}{'max':>8}"
        return [
            "",
            head,
            *(
                f"{_RECOVERY_WORDS[name]:<{WIDTH}}{spread.count:>6}"
                f"{spread.p50_s:>8.2f}{spread.p99_s:>8.2f}{spread.max_s:>8.2f}"
                for name, spread in self.recoveries.items()
            ),
            "* of these, 2 s are the pause before a failed attempt is tried again",
        ]

    def _verdict(self) -> list[str]:
        lines = [f"Skipped: {line}" for line in self.skipped]
        if self.disk is not None:
            lines += [f"Warning: {line}" for line in self.disk.warnings]
        problems = self.problems
        if not problems:
            return [*lines, f"Passed in {self.took_s:.0f} s: what was acknowledged is there."]
        more = len(problems) - MOST_REASONS
        return [
            *lines,
            f"FAILED after {self.took_s:.0f} s:",
            *(f"  {problem}" for problem in problems[:MOST_REASONS]),
            *([f"  and {more} more"] if more > 0 else []),
        ]

    # --- for programs -----------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        kills = Counter(strike.victim for strike in self.strikes)
        return {
            "passed": not self.problems,
            "directory": self.directory,
            "tookS": round(self.took_s, 3),
            "acknowledged": len(self.ledger.entries),
            "acknowledgedBytes": self.ledger.size_bytes,
            **self.counts,
            "refused": self.ledger.refused,
            "brokenOff": self.ledger.broken_off,
            "kills": {victim: kills[victim] for victim in ("server", "nursery", "child")},
            "handedBack": self.handed_back,
            "damage": None
            if self.damage is None
            else {"done": self.damage[0], "found": self.damage[1]},
            "disk": None
            if self.disk is None
            else {
                "fileSystem": self.disk.file_system,
                "syncS": round(self.disk.sync_s, 6),
                "slowestSyncS": round(self.disk.slowest_sync_s, 6),
                "warnings": self.disk.warnings,
            },
            "recovery": {
                _camel(name): {
                    "count": spread.count,
                    "p50S": round(spread.p50_s, 3),
                    "p99S": round(spread.p99_s, 3),
                    "maxS": round(spread.max_s, 3),
                }
                for name, spread in self.recoveries.items()
            },
            "skipped": self.skipped,
            "problems": self.problems,
        }


_RECOVERY_WORDS = {
    "server_exec_to_ready": "server: from its start to ready",
    "server_kill_to_ready": "server: from the kill to ready",
    "nursery_kill_to_ready": "nursery: from the kill to ready",
    "server_kill_to_jobs_going_on": "server killed: until its jobs go on",
    "nursery_kill_to_jobs_going_on": "nursery killed: until its jobs go on *",
    "child_kill_to_jobs_going_on": "child killed: until its job goes on *",
}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
