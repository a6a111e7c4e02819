"""Task types: what a deployment says about the tasks made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scheduler.errors import InvalidInput

POOL = "headway"
GROUP_TAG = "group:"
EXPORTER_TAG = "exporter"

SFTP_SLUG, IMPORTER_BLOCK = "sftp-server", "importer"
"""The Prefect block (type and name) of the server and folder that exporters deliver to."""

@dataclass(frozen=True)
class TaskType:
    """A task type. parameter_schema: the flow's JSON schema, or None where it is not at hand."""

    name: str
    group: str
    exporter: bool = False
    description: str = ""
    entrypoint: str = ""
    deployment_id: str = ""
    parameter_schema: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = field(default=())

    @classmethod
    def of_deployment(cls, name: str, tags: list[str], **facts: Any) -> "TaskType":
        """The type that a deployment of this name and tags makes; its group is its own name unless a tag says so."""
        groups = [tag.removeprefix(GROUP_TAG) for tag in tags if tag.startswith(GROUP_TAG)]
        return cls(name, groups[0] if groups else name, exporter=EXPORTER_TAG in tags, tags=tuple(tags), **facts)


def prefect_yaml() -> Path:
    """The prefect.yaml of the working folder, else Headway's own."""
    here = Path.cwd() / "prefect.yaml"
    return here if here.exists() else Path(__file__).resolve().parent.parent / "prefect.yaml"


def types_in(path: Path) -> dict[str, TaskType]:
    """The task types that a prefect.yaml deploys on the headway pool, by name. Their schemas are not at hand."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        deployments = (content or {}).get("deployments") or []
        return {
            one["name"]: TaskType.of_deployment(
                one["name"],
                list(one.get("tags") or []),
                description=one.get("description") or "",
                entrypoint=one.get("entrypoint") or "",
            )
            for one in deployments
            if ((one.get("work_pool") or {}).get("name") or POOL) == POOL
        }
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file, so no task types are known") from None
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: not a prefect.yaml that can be read: {error}") from None
