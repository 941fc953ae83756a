"""Every page that there is, on an appliance that has something to show on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests import media
from tests.conftest import Served

RTL_NAME = "صور من العطلة الصيفية في الجبال.jpg"
LONG_NAME = "minutes_of_the_meeting_about_names_without_any_space_" * 3 + ".pdf"


@dataclass(frozen=True)
class Shown:
    """A page to look at."""

    name: str
    route: str
    """As the table of routes has it."""
    path: str
    is_signed_in: bool = True
    status: int = 200


PAGES = (
    Shown("upload", "/", "/"),
    Shown("own-job", "/uploads/{job_id}", "/uploads/{done}"),
    Shown("dashboard", "/dashboard", "/dashboard"),
    Shown("metrics", "/dashboard/metrics", "/dashboard/metrics?range=day"),
    Shown("dead-letters", "/dashboard/dead-letters", "/dashboard/dead-letters"),
    Shown("dead-letter-jobs", "/dashboard/dead-letters", "/dashboard/dead-letters?type=IMAGE"),
    Shown("job", "/dashboard/jobs/{job_id}", "/dashboard/jobs/{done}"),
    Shown("job-failed", "/dashboard/jobs/{job_id}", "/dashboard/jobs/{failed}"),
    Shown("workers", "/dashboard/workers", "/dashboard/workers"),
    Shown("audit", "/dashboard/audit", "/dashboard/audit"),
    Shown("settings", "/dashboard/settings", "/dashboard/settings"),
    Shown("webhooks", "/dashboard/webhooks", "/dashboard/webhooks"),
    Shown("access", "/dashboard/access", "/dashboard/access"),
    Shown("links", "/links", "/links"),
    Shown("docs", "/docs", "/docs"),
    Shown("error", "/nothing", "/nothing", status=404),
    Shown("guest", "/u/{token}", "{guest}", is_signed_in=False),
    Shown("signin", "/signin", "/signin", is_signed_in=False),
)


async def furnish(served: Served) -> Mapping[str, str]:
    """Files that are done, one that failed, links, a webhook, a pause, an act for the audit log;
    what stands for the names in braces."""
    done = await _uploaded(served, RTL_NAME, media.jpeg(1600, 1200))
    await _uploaded(served, LONG_NAME, media.pdf(3, "Minutes"))
    await _uploaded(served, "clip.mp4", media.mp4(2, 320, 240))
    failed = await _uploaded(served, "broken.jpg", media.truncated(media.jpeg(800, 600)))
    await served.json("POST", f"/jobs/{done}/links", json={"file": "original"})
    guest = await served.json("POST", "/upload-links", json={"note": "Photos of the wedding"})
    await served.json(
        "POST", "/webhooks", json={"url": "http://127.0.0.1:9/arrived", "events": ["job.failed"]}
    )
    await served.json("PUT", "/pauses/type/ANY", json={"reason": "The archive is being moved."})
    return {"done": done, "failed": failed, "guest": guest["url"].removeprefix(served.url)}


async def _uploaded(served: Served, name: str, content: bytes) -> str:
    job = await served.json("POST", "/upload", params={"filename": name}, data=content)
    await served.finished(job["jobId"])
    return str(job["jobId"])
