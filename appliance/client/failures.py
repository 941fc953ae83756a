"""What a client command can fail with, in words for whoever typed it.

`told_code` is for scripts: the server's own code where the server refused, else ours.
"""

from __future__ import annotations

from typing import Any

from appliance.errors import ApplianceError, RateLimited


class ClientFailure(ApplianceError):
    code = "client_failure"

    @property
    def told_code(self) -> str:
        return self.code

    def document(self) -> dict[str, Any]:
        return {"code": self.told_code, "message": self.detail}


class Refused(ClientFailure):
    """The server said no, and will say so again."""

    code = "refused"

    def __init__(
        self, detail: str, *, status: int, server_code: str | None = None, **extra: Any
    ) -> None:
        super().__init__(detail, **extra)
        self.answered = status
        self.server_code = server_code

    @property
    def told_code(self) -> str:
        return self.server_code or self.code


class MayPass(ClientFailure):
    """Asked again later, it may go well."""

    @property
    def brief(self) -> str:
        """For a narrow place, while it is tried again."""
        return self.detail


class Unreachable(MayPass):
    """No connection, or it broke."""

    code = "unreachable"

    @property
    def brief(self) -> str:
        return "no connection, trying again"


class Busy(MayPass):
    """The server cannot do it now."""

    code = "busy"

    def __init__(
        self, detail: str, *, server_code: str | None, retry_after_s: float | None
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.server_code = server_code

    @property
    def told_code(self) -> str:
        return self.server_code or self.code

    @property
    def is_limit(self) -> bool:
        """Whether it was too much at once, and will be taken if one waits long enough."""
        return self.server_code == RateLimited.code and self.retry_after_s is not None

    @property
    def brief(self) -> str:
        if self.retry_after_s is None:
            return self.detail
        return f"waiting, the server asked for {self.retry_after_s:.0f} s"


class NotTrusted(ClientFailure):
    """The certificate of the server does not hold."""

    code = "not_trusted"


class SourceUnfit(ClientFailure):
    """The file cannot be sent: empty, unreadable, in use by another upload."""

    code = "source_unfit"


class SourceChanged(ClientFailure):
    """It changed while it was sent."""

    code = "source_changed"


class Altered(ClientFailure):
    """What is here and what is there have different digests."""

    code = "altered"


class TargetUnfit(ClientFailure):
    """A download cannot be put where it should go."""

    code = "target_unfit"
