"""The transactions of upload links, and of what signs the links to files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.database import keys
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json
from appliance.errors import LinkEnded
from appliance.links import UploadLink

NEWEST = "~"

ENDED = {
    "used": "As many files have come by this link as may. Ask for another one.",
    "expired": "The time of this link is over. Ask for another one.",
    "revoked": "This link was ended by whoever made it.",
}


def create(link: UploadLink, *, token_hash: str) -> Transaction[None]:
    fields = msgspec.structs.asdict(link)
    del fields["used"], fields["revoked_at"]
    yield Statement(
        "insert_upload_link", {**fields, "types": as_json(link.types), "token_hash": token_hash}
    )


def by_token(token_hash: str) -> Transaction[UploadLink | None]:
    rows = yield Statement("upload_link_by_token", {"token_hash": token_hash})
    return _link(rows[0]) if rows else None


def by_id(link_id: str, *, owner: str | None) -> Transaction[UploadLink | None]:
    """If it is that owner's (None: whosever it is)."""
    rows = yield Statement("upload_link_by_id", {"id": link_id, "owner": owner})
    return _link(rows[0]) if rows else None


def page(owner: str, *, limit: int, before: str | None = None) -> Transaction[list[UploadLink]]:
    """Newest first."""
    rows = yield Statement(
        "upload_link_page", {"owner": owner, "before": before or NEWEST, "limit": limit}
    )
    return [_link(row) for row in rows]


def check_open(link: UploadLink, *, now: float) -> Transaction[None]:
    """Raises LinkEnded, also when who made it is not let in any more."""
    state = link.state(now)
    if state != "open":
        raise LinkEnded(ENDED[state])
    if not (yield from keys.owner_may(link.owner, now=now)):
        raise LinkEnded(ENDED["revoked"])


def use(link_id: str, job_ids: Sequence[str], *, now: float) -> Transaction[None]:
    """Within the transaction that makes these jobs. However many come at once, no more get in than
    may. Raises LinkEnded."""
    link = yield from by_id(link_id, owner=None)
    assert link is not None
    yield from check_open(link, now=now)
    if link.left < len(job_ids):
        raise LinkEnded(f"By this link may come {link.left} more, and you sent {len(job_ids)}.")
    yield Statement("use_upload_link", {"id": link_id, "job_ids": as_json(job_ids)})


def revoke(link_id: str, *, owner: str | None, now: float) -> Transaction[str | None]:
    """Whose it was; None when it is not there, not that owner's, or ended already."""
    rows = yield Statement("revoke_upload_link", {"id": link_id, "owner": owner, "now": now})
    return rows[0]["owner"] if rows else None


# --- links to files --------------------------------------------------------------------------


def secret(name: str) -> Transaction[str | None]:
    rows = yield Statement("secret", {"name": name})
    return rows[0]["value"] if rows else None


def keep_secret(name: str, value: str) -> Transaction[None]:
    """Unless there is one of that name."""
    yield Statement("insert_secret", {"name": name, "value": value})


def ended_of(job_id: str) -> Transaction[int | None]:
    """How often the links to a job's files were ended; None: there is no such job."""
    rows = yield Statement("links_ended_of_job", {"id": job_id})
    return rows[0]["links_ended"] if rows else None


def end_of(job_id: str) -> Transaction[bool]:
    rows = yield Statement("end_links_of_job", {"id": job_id})
    return bool(rows)


def _link(row: Row) -> UploadLink:
    fields = {field: row[field] for field in UploadLink.__struct_fields__}
    fields["types"] = msgspec.json.decode(row["types"])
    return msgspec.convert(fields, UploadLink, strict=False)
