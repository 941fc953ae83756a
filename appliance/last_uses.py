"""When keys and sessions were used last, gathered in memory.

Requests note it here for nothing; `appliance.maintenance.recorder` writes it down once a minute.
What a crash takes with it is a minute of a figure that is for people to look at.
"""

from __future__ import annotations

from appliance.principals import Principal


class LastUses:
    def __init__(self) -> None:
        self._keys: dict[str, float] = {}
        self._sessions: dict[str, float] = {}

    def note(self, principal: Principal, now: float) -> None:
        if principal.key_id is not None:
            self._keys[principal.key_id] = now
        if principal.session_id is not None:
            self._sessions[principal.session_id] = now

    def take(self) -> tuple[dict[str, float], dict[str, float]]:
        """What was noted since the last call: of keys and of sessions, by id."""
        taken = self._keys, self._sessions
        self._keys, self._sessions = {}, {}
        return taken
