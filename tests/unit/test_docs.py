"""What the documentation must name: every setting, every shipped task type, and no page that is not there."""

import re
from pathlib import Path

import pytest

from scheduler.definitions import SettingsSection
from scheduler.task_types import OWN_PREFECT_YAML, types_in

DOCS = OWN_PREFECT_YAML.parent / "docs"
PAGES = [OWN_PREFECT_YAML.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("name", list(SettingsSection.model_fields))
def test_each_setting_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("name", list(types_in(OWN_PREFECT_YAML)))
def test_each_type_has_its_line_and_its_page(name: str) -> None:
    assert f"| [{name}](task-types/{name}.md) |" in (DOCS / "task-types.md").read_text()
    assert name in (DOCS / "task-types" / f"{name}.md").read_text().splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert re.match(r"https?://|mailto:", target) or (page.parent / target).exists(), target
