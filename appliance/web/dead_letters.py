"""The review of dead letters: pages and groups of them, one with its story, another try, the end.

For admins. The acts take ids or a filter, as JSON or as a form; to take all of them, that must be
said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance.database import dead_letters, job_reads, redrives
from appliance.database.dead_letters import DeadLetter, Filter
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job
from appliance.web import filters, forms, queries
from appliance.web.documents import (
    Count,
    DeadLetterPage,
    GroupList,
    RedriveBegun,
    StoryDocument,
)
from appliance.web.filters import FilterFields
from appliance.web.representation import (
    attempt_document,
    dead_letter_document,
    group_document,
    history_document,
    job_document,
    json_response,
    redrive_document,
)
from appliance.web.services import services, user


class Selection(msgspec.Struct, forbid_unknown_fields=True):
    """Which of them: by the ids of their jobs, or by a filter."""

    ids: list[str] | None = None
    filter: FilterFields | None = None

    def parsed(self) -> Filter:
        """Raises BadRequest."""
        if self.ids is not None and self.filter is not None:
            raise BadRequest("Send either ids or a filter, not both.")
        if self.ids is not None:
            return filters.of_ids(self.ids)
        if self.filter is None:
            raise BadRequest(
                "Say which: ids, or a filter. An empty filter means all of them (in a form: all=1)."
            )
        return self.filter.parsed()


class Another(Selection, forbid_unknown_fields=True):
    """What is to be tried again."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=redrives.MAX_JOBS)] = redrives.MAX_JOBS
    """The oldest so many of them."""
    staged: bool = False
    """One, then ten, then a hundred, for as long as it goes well."""
    once: forms.Once = None


# --- reading -----------------------------------------------------------------------------


async def list_dead_letters(request: web.Request) -> web.StreamResponse:
    """GET /dead-letters?fingerprint=&owner=&type=&code=&since=&until=&limit=&cursor="""
    page, cursor, matching = await page_of_letters(request)
    letters = [dead_letter_document(letter) for letter in page]
    return json_response(DeadLetterPage(deadLetters=letters, nextCursor=cursor, matching=matching))


async def page_of_letters(request: web.Request) -> tuple[list[DeadLetter], str | None, int]:
    """The page that the query asks for, the cursor of the next one, how many match in all."""
    wanted = filters.from_query(request.query)
    limit, cursor = queries.limit(request), queries.id_cursor(request)

    def reading() -> Transaction[tuple[list[DeadLetter], int]]:
        found = yield from dead_letters.page(wanted, before=cursor, limit=limit + 1)
        return found, (yield from dead_letters.count(wanted))

    found, matching = await services(request).database.read(reading())
    page = found[:limit]
    return page, page[-1].job_id if len(found) > limit else None, matching


async def list_groups(request: web.Request) -> web.StreamResponse:
    """GET /dead-letters/groups: the largest first."""
    limit = queries.limit(request)
    groups = await services(request).database.read(dead_letters.groups(limit=limit))
    return json_response(GroupList(groups=[group_document(group) for group in groups]))


async def get_dead_letter(request: web.Request) -> web.StreamResponse:
    """GET /dead-letters/{jobId}"""
    job_id = request.match_info["job_id"]
    story = await services(request).database.read(story_of(job_id)) if is_id(job_id) else None
    if story is None:
        raise NotFound(f"There is no dead letter of a job {filters.shown(job_id)}.")
    return json_response(story.document(user(request).owner))


class Story(msgspec.Struct, frozen=True):
    """A dead letter, with all that is known of how it came to it."""

    letter: DeadLetter
    job: Job
    attempts: list[Attempt]
    history: list[HistoryEntry]
    others: int
    """That failed alike."""

    def document(self, reader: str) -> StoryDocument:
        return {
            **dead_letter_document(self.letter),
            "others": self.others,
            "job": job_document(self.job, reader),
            "attempts": [attempt_document(attempt) for attempt in self.attempts],
            "history": [history_document(entry) for entry in self.history],
        }


def story_of(job_id: str) -> Transaction[Story | None]:
    letter = yield from dead_letters.get(job_id)
    if letter is None:
        return None
    job = yield from job_reads.get(job_id)
    group = yield from dead_letters.group(letter.fingerprint)
    assert job is not None
    return Story(
        letter,
        job,
        attempts=(yield from job_reads.attempts(job_id)),
        history=(yield from job_reads.history(job_id)),
        others=group.jobs - 1 if group is not None else 0,
    )


# --- acting ------------------------------------------------------------------------------


async def retry_dead_letters(request: web.Request) -> web.StreamResponse:
    """POST /dead-letters/retry"""
    asked = await forms.read(request)
    another = asked.to(Another, shape=_shape)
    redrive = await services(request).acts.retry_dead_letters(
        another.parsed(),
        actor=user(request).owner,
        staged=another.staged,
        limit=another.limit,
        once=another.once,
    )
    document = RedriveBegun(count=redrive.counts.total, redrive=redrive_document(redrive))
    return forms.answer(request, asked, document, status=202)


async def discard_dead_letters(request: web.Request) -> web.StreamResponse:
    """POST /dead-letters/discard"""
    asked = await forms.read(request)
    wanted = asked.to(Selection, shape=_shape).parsed()
    count = await services(request).acts.discard_dead_letters(wanted, actor=user(request).owner)
    return forms.answer(request, asked, Count(count=count))


def _shape(form: MultiDict[str]) -> Mapping[str, Any]:
    """A form is flat: the filter's fields stand beside the others, and `all` for an empty one."""
    document: dict[str, Any] = dict(form)
    filter_fields = {
        name: document.pop(name) for name in FilterFields.__struct_fields__ if name in document
    }
    if filter_fields or document.pop("all", None) == "1":
        document["filter"] = filter_fields
    if "ids" in form:
        document["ids"] = form.getall("ids")
    if document.get("staged") == "on":  # what a box says that has no value of its own
        document["staged"] = "1"
    return document
