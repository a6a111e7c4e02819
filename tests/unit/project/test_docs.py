"""What the documentation must name, where its links lead, and which of its parts are generated."""

import re
import subprocess
from pathlib import Path

import pytest

from headway.models.values.rule import RuleId
from headway.scheduler.engine.prefect_worker import QUERY_SECONDS
from headway.scheduler.planning.definitions.document import ScheduleSection, SettingsSection, TaskSection, WindowSection
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from tests.support import reference_pages
from tests.support.project import PROJECT

DOCS = PROJECT / "docs"
PAPERS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES = [*(PROJECT / name for name in PAPERS), *sorted(DOCS.rglob("*.md"))]
ARCHITECTURE = DOCS / "explanation" / "architecture.md"
NOT_YET_SPLIT = ()
"""Files that architecture.md names and that other changes bring; empty once they are merged."""
_LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)
_PATH = re.compile(
    r"`((?:headway|models|scheduler|blocks|flows|dashboard|cli|tests|benchmarks|docs|deploy|examples)/[\w/.-]*)`"
)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    return [PROJECT / line for line in listed.stdout.splitlines()]


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", list(SettingsSection.model_fields))
def test_each_setting_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in read(DOCS / "reference" / "settings.md")


@pytest.mark.parametrize("section", [TaskSection, WindowSection, ScheduleSection], ids=lambda one: one.__name__)
def test_each_key_of_a_file_is_in_the_reference(section: type[TaskSection]) -> None:
    page = read(DOCS / "reference" / "yaml.md")
    assert [name for name in section.model_fields if f"| `{name}` |" not in page] == []


def test_each_block_type_is_in_the_table() -> None:
    sources = "".join(read(path) for path in (PROJECT / "blocks").rglob("*.py"))
    names = re.findall(r'_block_type_name = "(.+)"', sources)
    settings = read(DOCS / "reference" / "settings.md")
    assert names and [name for name in names if f"| {name} " not in settings] == []


def test_the_worker_asks_prefect_as_often_as_the_docs_say() -> None:
    settings = read(DOCS / "reference" / "settings.md")
    assert f"| `PREFECT_WORKER_QUERY_SECONDS` | {QUERY_SECONDS} |" in settings


@pytest.mark.parametrize("name", list(types_in(OWN_PREFECT_YAML)))
def test_each_type_has_its_line_and_its_page(name: str) -> None:
    assert f"| [{name}](../reference/task-types/{name}.md) |" in read(DOCS / "howto" / "task-types.md")
    assert name in read(DOCS / "reference" / "task-types" / f"{name}.md").splitlines()[0]


@pytest.mark.parametrize("page", reference_pages.pages(), ids=lambda page: page.stem)
def test_the_generated_reference_is_up_to_date(page: Path) -> None:
    current = reference_pages.written(read(page), reference_pages.generated(page))
    assert read(page) == current, "write it anew: python -m tests.support.reference_pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", read(page))):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors_of(there), target


def test_every_page_that_a_file_names_exists() -> None:
    suffixes = {".md", ".py", ".toml", ".yaml", ".lock", ".service", ".example", ".sql"}
    sources = [file for file in tracked() if file.suffix in suffixes and file.is_file()]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in sources]
    named = {page for text in texts for page in re.findall(r"\bdocs/[\w/-]+\.md\b", text)}
    assert len(named) > 5
    assert sorted(page for page in named if not (PROJECT / page).exists()) == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_each_page_can_be_reached_from_the_index(page: Path) -> None:
    index = DOCS / "index.md"
    linked, todo = {index}, [index]
    while todo:
        one = todo.pop()
        for target in _LINK.findall(read(one)):
            there = (one.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists() and there not in linked:
                linked.add(there)
                todo.append(there)
    assert page.resolve() in {found.resolve() for found in linked}


def test_every_path_that_the_architecture_names_exists() -> None:
    named = set(_PATH.findall(read(ARCHITECTURE)))
    assert len(named) > 40
    assert sorted(path for path in named if path not in NOT_YET_SPLIT and not (PROJECT / path).exists()) == []


def test_the_architecture_names_every_folder_of_the_source() -> None:
    files = [file.relative_to(PROJECT) for file in tracked() if file.suffix == ".py"]
    towers = ("models", "scheduler", "blocks", "flows", "dashboard", "cli")
    folders = {f"{file.parent}/" for file in files if file.parts[0] in towers and "migrations" not in file.parts}
    page = read(ARCHITECTURE)
    assert sorted(folder for folder in folders if f"`{folder}`" not in page) == []


def test_the_architecture_draws_the_imports_between_the_rooms_of_the_scheduler() -> None:
    rooms = {path.parent.name for path in (PROJECT / "scheduler").glob("*/__init__.py")}
    real = {
        (room, imported)
        for room in rooms
        for file in (PROJECT / "scheduler" / room).rglob("*.py")
        for imported in re.findall(r"^\s*(?:from|import) headway\.scheduler\.(\w+)", read(file), re.MULTILINE)
        if imported in rooms - {room}
    }
    drawn = {arrow for arrow in re.findall(r"^ *(\w+) --> (\w+)$", read(ARCHITECTURE), re.M) if rooms.issuperset(arrow)}
    assert drawn == real


def test_the_architecture_names_every_import_contract() -> None:
    contracts = re.findall(r'^name = "(.+)"\ntype = ', read(PROJECT / "pyproject.toml"), re.MULTILINE)
    page = read(ARCHITECTURE)
    assert contracts and [name for name in contracts if name not in page] == []


@pytest.mark.parametrize("rule", [rule.value for rule in RuleId])
def test_each_rule_is_in_the_glossary(rule: str) -> None:
    assert f"`{rule}`" in read(DOCS / "explanation" / "glossary.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_docs_name_who_does_what(page: Path) -> None:
    own = re.sub(f"{reference_pages.BEGIN}.*?{reference_pages.END}", "", read(page), flags=re.S)
    found = re.findall(r"(?i)\b(?:somebody|whoever|(?:is|are) told)\b", _CODE.sub("", own))
    assert found == []
