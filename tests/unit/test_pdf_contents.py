"""What a PDF carries beside its pages (outline, scripts, attachments, XMP), and what a preset may
ask of the processor."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
    TextStringObject,
)

from appliance.processors import limits
from appliance.processors.documents.structure import examine
from appliance.processors.pdf import PROCESSOR, PdfOptions
from tests import media
from tests.processing import Outcome, process

PAGE = (Path(__file__).resolve().parents[2] / "docs/presets/pdf.md").read_text()


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, tmp_path: Path, **options: Any) -> Outcome:
    return process(PROCESSOR, data, "application/pdf", tmp_path, **options)


def made(change: Callable[[PdfWriter], object], pages: int = 3) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(media.pdf(pages))))
    change(writer)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def dictionary(**entries: object) -> DictionaryObject:
    return DictionaryObject({NameObject(f"/{name}"): value for name, value in entries.items()})


# --- the outline -------------------------------------------------------------------------


def test_the_outline_is_a_tree(tmp_path: Path) -> None:
    def change(writer: PdfWriter) -> None:
        first = writer.add_outline_item(title="One\n1", page_number=0)
        writer.add_outline_item(title="One a", page_number=1, parent=first)
        writer.add_outline_item(title="Two", page_number=2)

    outcome = run(made(change), tmp_path)
    assert (outcome.facts["outlineEntries"], outcome.facts["outlineTruncated"]) == (3, False)
    assert json.loads(outcome.path("outline.json").read_bytes()) == {
        "entries": [
            {"title": "One 1", "page": 1,
             "children": [{"title": "One a", "page": 2, "children": []}]},
            {"title": "Two", "page": 3, "children": []},
        ],
        "truncated": False,
    }  # fmt: skip


def test_an_outline_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_OUTLINE_ENTRIES", 5)

    def change(writer: PdfWriter) -> None:
        for number in range(9):
            writer.add_outline_item(title=str(number), page_number=0)

    outcome = run(made(change), tmp_path)
    assert (outcome.facts["outlineEntries"], outcome.facts["outlineTruncated"]) == (5, True)
    assert json.loads(outcome.path("outline.json").read_bytes())["truncated"] is True


def test_an_outline_that_goes_in_a_circle_ends(tmp_path: Path) -> None:
    def change(writer: PdfWriter) -> None:
        item = writer.add_outline_item(title="Again", page_number=0).get_object()
        item[NameObject("/Next")] = item.indirect_reference

    assert run(made(change), tmp_path).facts["outlineEntries"] <= 2


# --- scripts, attachments, actions ---------------------------------------------------------


def name(text: str) -> NameObject:
    return NameObject(f"/{text}")


def with_named_script(writer: PdfWriter) -> None:
    """One that runs when the document is opened, in the tree of names."""
    script = dictionary(S=name("JavaScript"), JS=TextStringObject("app.alert('hi')"))
    names = ArrayObject([TextStringObject("a"), script])
    writer.root_object[NameObject("/Names")] = dictionary(JavaScript=dictionary(Names=names))


def with_action(**action: object) -> bytes:
    """The action is the one that runs when the document is opened."""

    def change(writer: PdfWriter) -> None:
        writer.root_object[NameObject("/OpenAction")] = dictionary(**action)

    return made(change)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (made(with_named_script), "javascript"),
        (with_action(S=name("JavaScript"), JS=TextStringObject("x()")), "javascript"),
        (with_action(S=name("Launch"), F=TextStringObject("cmd.exe")), "launch"),
        (with_action(S=name("SubmitForm"), F=TextStringObject("https://x.example")), "submit"),
        (with_action(S=name("GoToR"), F=TextStringObject("other.pdf")), "remote"),
        (with_action(S=name("ImportData"), F=TextStringObject("a.fdf")), "import"),
        (with_action(S=name("Rendition")), "media"),
    ],
)
def test_what_runs_or_sends_is_told(data: bytes, told: str, tmp_path: Path) -> None:
    facts = run(data, tmp_path).facts
    assert facts["activeContent"] == [told]
    assert facts["scripts"] == (told == "javascript")
    assert facts["structureComplete"] is True


def test_a_script_of_an_annotation_is_found(tmp_path: Path) -> None:
    def change(writer: PdfWriter) -> None:
        script = dictionary(S=name("JavaScript"), JS=TextStringObject("x()"))
        rectangle = ArrayObject(map(NumberObject, (0, 0, 9, 9)))
        annotation = dictionary(Type=name("Annot"), Subtype=name("Link"), Rect=rectangle, A=script)
        writer.pages[1][NameObject("/Annots")] = ArrayObject([writer._add_object(annotation)])

    assert run(made(change), tmp_path).facts["scripts"] == 1


def test_links_are_counted_and_are_not_active(tmp_path: Path) -> None:
    facts = run(with_action(S=name("URI"), URI=TextStringObject("https://a.example")), tmp_path)
    assert (facts.facts["links"], facts.facts["activeContent"]) == (1, [])


def test_attachments_are_named(tmp_path: Path) -> None:
    def change(writer: PdfWriter) -> None:
        writer.add_attachment("notes\u202e.txt", b"12345")
        writer.add_attachment("b.exe", b"MZ")

    facts = run(made(change), tmp_path).facts
    assert facts["attachmentCount"] == 2
    assert "attachments" in facts["activeContent"]
    named = {one["name"]: one["sizeBytes"] for one in facts["attachments"]}
    assert set(named) == {"notes .txt", "b.exe"}
    assert set(named.values()) <= {5, 2, None}


def test_many_attachments_are_counted_and_the_first_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_ATTACHMENTS", 2)

    def change(writer: PdfWriter) -> None:
        for number in range(4):
            writer.add_attachment(f"{number}.txt", b"x")

    facts = run(made(change), tmp_path).facts
    assert (facts["attachmentCount"], len(facts["attachments"])) == (4, 2)


def test_forms_and_signatures(tmp_path: Path) -> None:
    def change(writer: PdfWriter) -> None:
        signature = dictionary(
            Type=name("Sig"),
            ByteRange=ArrayObject(map(NumberObject, (0, 1, 2, 3))),
            Contents=TextStringObject("x"),
        )
        field = dictionary(FT=name("Sig"), T=TextStringObject("s"), V=signature)
        form = dictionary(Fields=ArrayObject([field]), XFA=TextStringObject("<xdp/>"))
        writer.root_object[NameObject("/AcroForm")] = form

    facts = run(made(change), tmp_path).facts
    assert facts["signatures"] == 1
    assert "xfa" in facts["activeContent"]


def test_xmp_tells_what_the_dictionary_does_not(tmp_path: Path) -> None:
    xmp = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF "
        b"xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' "
        b"xmlns:pdfaid='http://www.aiim.org/pdfa/ns/id/' pdfaid:part='2' pdfaid:conformance='B' "
        b"xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:title><rdf:Alt>"
        b"<rdf:li xml:lang='x-default'>From XMP</rdf:li></rdf:Alt></dc:title>"
        b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )

    def change(writer: PdfWriter) -> None:
        writer.metadata = None
        stream = StreamObject()
        stream.set_data(xmp)
        stream.update(dictionary(Type=name("Metadata"), Subtype=name("XML")))
        writer.root_object[NameObject("/Metadata")] = writer._add_object(stream)

    facts = run(made(change), tmp_path).facts
    assert (facts["title"], facts["pdfA"]) == ("From XMP", "2b")


def test_the_search_ends_in_time() -> None:
    class Slow(io.BytesIO):
        """Uses processor time for ever."""

        def read(self, size: int | None = -1) -> bytes:
            while not ended.is_set():
                sum(range(1000))
            return b""

    ended = threading.Event()
    try:
        assert not examine(Slow(media.pdf(1)), limit_s=0.05).complete
    finally:
        ended.set()


def test_too_many_objects_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_OBJECTS", 10)
    assert not examine(io.BytesIO(media.pdf(20))).complete


# --- options -----------------------------------------------------------------------------


def test_pictures_as_asked(tmp_path: Path) -> None:
    outcome = run(media.pdf(4), tmp_path, pages=2, page_edge_px=400, format="jpeg", thumbnail_px=64)
    assert {name for name in outcome.outputs if name.startswith("page")} == {
        "page-1.jpg", "page-2.jpg"
    }  # fmt: skip
    with Image.open(outcome.path("page-2.jpg"), formats=["JPEG"]) as picture:
        assert max(picture.size) == 400
    with Image.open(outcome.path("thumbnail.webp")) as thumbnail:
        assert max(thumbnail.size) == 64
    assert outcome.facts["pagesRendered"] == 2


def test_all_pages(tmp_path: Path) -> None:
    outcome = run(media.pdf(9), tmp_path, pages="all", format="png", page_edge_px=64)
    assert len([name for name in outcome.outputs if name.endswith(".png")]) == 9


def test_nothing_but_facts(tmp_path: Path) -> None:
    outcome = run(media.pdf(3), tmp_path, pages=0, thumbnail_px=0, text=False, structure=False)
    assert outcome.outputs == {}
    assert outcome.facts["pageCount"] == 3
    assert "textChars" not in outcome.facts
    assert "activeContent" not in outcome.facts


def test_the_thumbnail_comes_first(tmp_path: Path) -> None:
    assert next(iter(run(media.pdf(9), tmp_path).outputs)) == "thumbnail.webp"


def test_the_text_by_pages(tmp_path: Path) -> None:
    outcome = run(media.pdf(3), tmp_path)
    pages = json.loads(outcome.path("text.json").read_bytes())["pages"]
    assert pages == outcome.path("text.txt").read_text().split("\f")
    assert [page.splitlines()[0] for page in pages] == ["Page 1", "Page 2", "Page 3"]


def test_a_page_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = media.pdf(3).replace(b"/Type /Page /Parent 2 0 R", b"/Type /Xage /Parent 2 0 R", 1)
    outcome = run(data, tmp_path)
    assert outcome.facts["pageCount"] == 3
    assert outcome.facts["pagesUnreadable"] == len(outcome.facts["unreadablePages"])


def test_who_owns_it_may_have_forbidden_what_a_reader_may(tmp_path: Path) -> None:
    facts = run(media.encrypted_pdf(user_password=""), tmp_path).facts
    assert (facts["encrypted"], facts["pageCount"]) == (True, 2)


def test_every_option_is_documented() -> None:
    for field in msgspec.structs.fields(PdfOptions):
        assert any(line.startswith(f"| `{field.name}` |") for line in PAGE.splitlines()), field.name


def test_every_fact_is_documented(tmp_path: Path) -> None:
    for fact in run(media.pdf(1), tmp_path).facts:
        assert f"`{fact}`" in PAGE, fact
