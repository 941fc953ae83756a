"""The docs are held to the code: what exists is documented, what is documented exists."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance
from appliance.config import SETTINGS, Setting
from appliance.errors import ApplianceError, ConfigurationError, ProcessingError
from appliance.jobs import LEGAL_MOVES, JobStatus
from appliance.metrics import Metrics
from appliance.permissions import OF_ROLE, OF_SCOPE, Permission, Role, Scope
from appliance.web.audit_page import DONE
from appliance.web.representation import job_document
from appliance.web.routes import ROUTES
from tests.records import a_job

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
INCIDENTAL = {
    "APPLIANCE_SERVER",
    "APPLIANCE_KEY",
    "APPLIANCE_TEST_NO_SKIP",
    "APPLIANCE_TEST_TRANSFERS",
}
"""Names that look like settings and are none."""


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rows(text: str, first: str) -> Iterator[list[str]]:
    """The cells of each row of the tables whose head begins with `first`."""
    in_table = False
    for line in text.splitlines():
        if not line.startswith("|"):
            in_table = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if in_table and not set(line) <= set("|-: "):
            yield cells
        in_table = in_table or cells[0] == first


def unquoted(cell: str) -> str:
    return cell.strip("`")


# --- the audit log -------------------------------------------------------------------------


def test_every_act_is_documented_and_has_its_words() -> None:
    documented = {
        unquoted(name)
        for cells in rows(read("docs/http.md"), "action")
        for name in cells[0].split(", ")
    }
    written = set()
    for module in (ROOT / "appliance").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        written |= set(re.findall(r'action="([a-z_]+\.[a-z]+)"', text))
    assert written <= documented
    assert documented == set(DONE)


# --- settings ------------------------------------------------------------------------------


def shown_default(setting: Setting) -> str:
    if setting.name in ("workers_image", "workers_pdf", "workers_any"):
        return "1-<cores>"  # the machine's own number stands in the code's default
    return setting.default or "unset"


DEFAULTS = {setting.variable: shown_default(setting) for setting in SETTINGS}


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {
        unquoted(cells[0]): unquoted(cells[1])
        for cells in rows(read("docs/settings.md"), "variable")
    }
    assert documented == DEFAULTS


def test_the_readme_agrees_with_the_defaults() -> None:
    documented = {
        unquoted(cells[0]): unquoted(cells[1]) for cells in rows(read("README.md"), "variable")
    }
    assert documented
    assert documented.items() <= DEFAULTS.items()


def test_the_examples_of_settings_are_valid() -> None:
    parsers = {setting.variable: setting.parse for setting in SETTINGS}
    for cells in rows(read("docs/settings.md"), "variable"):
        if cells[0] != "`APPLIANCE_ADMIN_KEY`":
            parsers[unquoted(cells[0])](unquoted(cells[3]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_setting_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"APPLIANCE_[A-Z0-9_]+[A-Z0-9]", text))
    assert named <= DEFAULTS.keys() | INCIDENTAL


# --- routes --------------------------------------------------------------------------------


def test_every_route_is_documented_with_the_permission_it_needs() -> None:
    documented = {
        unquoted(cells[0]): None if cells[1] == "everybody" else Permission(unquoted(cells[1]))
        for cells in rows(read("docs/http.md"), "method and path")
    }
    assert documented == {f"{route.method} {route.path}": route.permission for route in ROUTES}


def test_who_has_a_permission_is_documented() -> None:
    documented = {cells[0]: cells[2:] for cells in rows(read("docs/http.md"), "permission")}
    expected = {}
    for permission in Permission:
        roles = [role.value for role in Role if permission in OF_ROLE[role]]
        scopes = [f"`{scope}`" for scope in Scope if permission in OF_SCOPE[scope]]
        expected[f"`{permission}`"] = [
            "every role" if len(roles) == len(Role) else ", ".join(roles),
            "every scope" if len(scopes) == len(Scope) else ", ".join(scopes),
        ]
    assert documented == expected


def test_the_tests_that_hold_the_requirements_exist() -> None:
    for cells in rows(read("docs/security.md"), "requirement"):
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[2]):
            assert re.search(rf"^(async )?def {name}\(", read(file), re.M), name
        assert "`tests/" in cells[2] or cells[2].startswith("Not met:"), cells[0]


ASVS = """
1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1 3.2.1-2 3.3.1-4 3.4.1-6
3.5.1-5 3.7.1-2 4.1.1-3 4.2.1 4.3.1-2 4.4.1-4 5.1.1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12
6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4 7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2
8.2.1-3 8.3.1 8.4.1 9.1.1-3 9.2.1-4 10.1.1-2 10.2.1-2 10.3.1-4 10.4.1-11 10.5.1-5 10.6.1-2
10.7.1-3 11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1 11.6.1 12.1.1-3 12.2.1-2 12.3.1-4 13.1.1
13.2.1-5 13.3.1-2 13.4.1-5 14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1 16.2.1-5
16.3.1-4 16.4.1-3 16.5.1-3
"""
"""OWASP ASVS 5.0.0: the requirements of levels 1 and 2, but for those of WebRTC (chapter 17)."""


def test_no_requirement_of_the_levels_is_missing() -> None:
    page = read("docs/security.md")
    met = {
        number
        for cells in rows(page, "requirement")
        for number in re.findall(r"\b\d+\.\d+\.\d+\b(?! \(level 3\))", cells[0])
    }
    left = [
        number for cells in rows(page, "not applicable")
        for number in re.findall(r"\d+\.\d+\.\d+", cells[0])
    ]  # fmt: skip
    expected = set()
    for span in ASVS.split():
        section, first, last = re.fullmatch(r"(\d+\.\d+)\.(\d+)(?:-(\d+))?", span).groups()  # type: ignore[union-attr]
        expected |= {f"{section}.{n}" for n in range(int(first), int(last or first) + 1)}
    assert met & set(left) == set()
    assert met | set(left) == expected


def exists(method: str, path: str) -> bool:
    return any(
        route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]*", route.path), path)
        for route in ROUTES
    )


@pytest.mark.parametrize("page", ["README.md", "docs/http.md", "docs/operations.md"])
def test_curl_is_pointed_at_routes_that_exist(page: str) -> None:
    shell = "\n".join(re.findall(r"^```sh\n(.*?)^```", read(page), re.M | re.S))
    commands = re.findall(r"\bcurl\b(.*?)(?:\n|$|\|)", shell.replace("\\\n", " "))
    assert commands or page == "docs/operations.md"
    for command in commands:
        address = re.search(r"(?:http://)?localhost:8080(/[^\s\"?]*)", command)
        assert address is not None, command
        said = re.search(r" -X ([A-Z]+) ", command)
        method = (
            said[1] if said
            else "POST" if re.search(r" (-F|--json) ", command)
            else "PUT" if " -T " in command
            else "GET"
        )  # fmt: skip
        assert exists(method, address[1]), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_route_that_does_not_exist(page: Path) -> None:
    named = re.findall(
        r"`(GET|POST|PUT|DELETE|PATCH) (/[^\s`?]*)", page.read_text(encoding="utf-8")
    )
    for method, path in named:
        assert exists(method, path), f"{method} {path}"


def test_the_example_of_a_job_has_every_member() -> None:
    example = re.search(r"## The job\n\n```json\n(.*?)^```", read("docs/http.md"), re.M | re.S)
    assert example is not None
    members = re.findall(r'^  "(\w+)":', example[1], re.M)
    assert members == list(job_document(a_job(), "key:A"))


# --- errors --------------------------------------------------------------------------------


def every_error() -> set[type[ApplianceError]]:
    """The whole tree, with the branches that other modules of the server's process add to it."""
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if not module.name.startswith(("appliance.processors.", "appliance.__main__")):
            importlib.import_module(module.name)
    found: set[type[ApplianceError]] = set()
    new = {ApplianceError}
    while new:
        found |= new
        new = {branch for error in new for branch in error.__subclasses__()} - found
    return {error for error in found if error.__module__.startswith("appliance.")}


def test_every_error_code_is_documented_with_what_it_means() -> None:
    page = read("docs/http.md")
    answers, failures = {}, {}
    for cells in rows(page, "code"):
        if cells[1].isdecimal():
            answers[unquoted(cells[0])] = int(cells[1])
        else:
            failures[unquoted(cells[0])] = cells[1]
    expected_answers, expected_failures, elsewhere = {}, {}, set()
    for error in every_error():
        if issubclass(error, ProcessingError):
            final = error.permanent or error.code == "worker_lost"
            expected_failures[error.code] = "no" if final else "yes"
        elif issubclass(error, ConfigurationError) or error.__module__ != "appliance.errors":
            elsewhere.add(error.code)
        else:
            expected_answers[error.code] = error.status
    assert answers == expected_answers
    assert failures == expected_failures
    for code in elsewhere:
        assert f"`{code}`" in page


# --- metrics, log, states ------------------------------------------------------------------


def test_every_metric_is_documented_with_its_labels() -> None:
    metrics = Metrics()
    expected = {}
    for family in metrics.registry.collect():
        name = family.name + "_total" if family.type == "counter" else family.name
        expected[name] = family.type
    table = {unquoted(cells[0]): cells for cells in rows(read("docs/metrics.md"), "metric")}
    assert {name: cells[1] for name, cells in table.items()} == expected
    for metric in vars(metrics).values():
        if hasattr(metric, "_labelnames"):
            name = metric._name + "_total" if metric._type == "counter" else metric._name
            assert tuple(re.findall(r"`(\w+)`", table[name][2])) == metric._labelnames


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_metric_that_does_not_exist(page: Path) -> None:
    documented = {unquoted(cells[0]) for cells in rows(read("docs/metrics.md"), "metric")}
    named = set(re.findall(r"\bappliance_[a-z_]+[a-z]\b", page.read_text(encoding="utf-8")))
    assert named <= documented


def test_the_log_events_that_are_documented_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("appliance/**/*.py"))
    logged = set(re.findall(r"\blog\.\w+\(\s*\"(\w+)\"", source))
    for cells in rows(read("docs/operations.md"), "event"):
        assert set(re.findall(r"`(\w+)`", cells[0])) <= logged


def test_the_table_of_moves_is_the_code_s() -> None:
    documented: set[tuple[str, str]] = set()
    for cells in rows(read("ARCHITECTURE.md"), "from"):
        documented |= {(source, cells[1]) for source in cells[0].split(", ") if source}
        for name in re.findall(r"`(\w+)`", cells[2]):
            module = importlib.import_module("appliance.database.jobs")
            assert inspect.isfunction(getattr(module, name))
    assert documented == {(source, to) for source, moves in LEGAL_MOVES.items() for to in moves}


def test_the_states_are_documented() -> None:
    documented = {unquoted(cells[0]) for cells in rows(read("docs/http.md"), "`status`")}
    assert documented == set(JobStatus)


def test_what_is_possible_in_each_state_is_documented() -> None:
    documented = {
        status: set(cells[1].split(", "))
        for cells in rows(read("docs/http.md"), "when the job is")
        for status in cells[0].split(", ")
    }
    assert documented == {status.value: set(status.possible) for status in JobStatus}


# --- names and links -----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'\b(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Of the headings, as the hosts of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|sql|toml|md|yaml))[`: ]", read(page))
    assert named
    existing = [f"/{path.relative_to(ROOT)}" for path in source_files()]
    for name in named:
        if "NAME" not in name and "NNNN" not in name:
            assert any(path.endswith(f"/{name}") for path in existing), name


def source_files() -> Iterator[Path]:
    yield from ROOT.glob("*.*")
    for folder in ("appliance", "tests", "docs", "scripts"):
        yield from (ROOT / folder).rglob("*.*")


def test_the_decisions_are_listed_in_order() -> None:
    files = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", read("docs/decisions/README.md")) == files
    for name in files:
        assert read(f"docs/decisions/{name}").startswith(f"# {int(name[:4])}. ")


def test_pictures_of_the_readme_are_small() -> None:
    for name in re.findall(r'(?:src|srcset)="(docs/images/[^"]+)"', read("README.md")):
        assert (ROOT / name).stat().st_size < 200_000, name
