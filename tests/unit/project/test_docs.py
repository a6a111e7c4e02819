"""What the documentation must name: every setting, every shipped task type, and no page that is not there."""

import re
from pathlib import Path

import pytest

from headway.scheduler.engine.prefect_worker import QUERY_SECONDS
from headway.scheduler.planning.definitions import SettingsSection
from headway.scheduler.planning.task_types import OWN_PREFECT_YAML, types_in

DOCS = OWN_PREFECT_YAML.parent / "docs"
PAGES = [OWN_PREFECT_YAML.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("name", list(SettingsSection.model_fields))
def test_each_setting_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "settings.md").read_text()


def test_each_block_type_is_in_the_table() -> None:
    sources = "".join(path.read_text() for path in (OWN_PREFECT_YAML.parent / "blocks").glob("*.py"))
    names = re.findall(r'_block_type_name = "(.+)"', sources)
    settings = (DOCS / "settings.md").read_text()
    assert names and [name for name in names if f"| {name} " not in settings] == []


def test_the_worker_asks_prefect_as_often_as_the_docs_say() -> None:
    assert f"| `PREFECT_WORKER_QUERY_SECONDS` | {QUERY_SECONDS} |" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("name", list(types_in(OWN_PREFECT_YAML)))
def test_each_type_has_its_line_and_its_page(name: str) -> None:
    assert f"| [{name}](task-types/{name}.md) |" in (DOCS / "task-types.md").read_text()
    assert name in (DOCS / "task-types" / f"{name}.md").read_text().splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert re.match(r"https?://|mailto:", target) or (page.parent / target).exists(), target
