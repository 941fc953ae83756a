"""Pages as a browser gets them: their elements, their text, their forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from multidict import MultiDict

from tests.conftest import Served

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass
class Form:
    action: str
    method: str
    fields: MultiDict[str] = field(default_factory=MultiDict)
    """What is sent as it stands: hidden fields and first options; no text, no box that is empty."""
    buttons: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The word on each, and its attributes."""

    def sent_by(self, word: str, **typed: str) -> MultiDict[str]:
        """What the button with this word sends."""
        (attributes,) = [attributes for said, attributes in self.buttons if said == word]
        sent = MultiDict(self.fields)
        if "name" in attributes:
            sent.add(attributes["name"], attributes.get("value", ""))
        sent.update(typed)
        return sent

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.buttons]


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and its forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._button: dict[str, str] | None = None
        self._word = ""
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        known = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(known.get("action", ""), known.get("method", "get"))
            self.forms.append(self._form)
        elif tag == "select":
            self._select = known.get("name", "")
        elif self._form is None:
            return
        elif tag == "option" and self._select:
            self._form.fields.setdefault(self._select, known["value"])
        elif tag == "input" and known.get("type") == "hidden" and known.get("name"):
            self._form.fields.add(known["name"], known["value"])
        elif tag == "button":
            self._button, self._word = known, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""
        elif tag == "button" and self._button is not None and self._form is not None:
            word = self._button.get("aria-label") or " ".join(self._word.split())
            self._form.buttons.append((word, self._button))
            self._button = None

    def handle_data(self, data: str) -> None:
        self.text += data
        self._word += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self) -> str:
        return " ".join(self.text.split())

    def posting(self, action: str) -> list[Form]:
        return [form for form in self.forms if (form.action, form.method) == (action, "post")]

    def acts(self) -> Iterator[Form]:
        """The forms that change something, but for signing out."""
        return (f for f in self.forms if f.method == "post" and f.action != "/signout")


async def page(served: Served, path: str, status: int = 200) -> Page:
    async with served.admin.get(path, headers=HTML) as response:
        assert response.status == status, path
        assert response.content_type == "text/html"
        assert response.headers["Cache-Control"] == "no-store"
        return Page(await response.text())


def links(shown: Page, beginning: str) -> Iterable[str]:
    return [
        a["href"] or "" for a in shown.named("a") if (a.get("href") or "").startswith(beginning)
    ]
