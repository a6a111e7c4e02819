"""Task types: what a deployment says about the tasks made of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headway.errors import InvalidInput
from headway.privileges import needed_for

POOL = "headway"
HEADWAY_TAG = "headway"
"""Makes a deployment on another work pool a task type, too: its runs are handed to that pool."""
GROUP_TAG = "group:"
EXPORTER_TAG = "exporter"
SFTP_SLUG, IMPORTER_BLOCK = "sftp-server", "importer"
"""The Prefect block (type and name) of the server and folder that exporters deliver to."""


@dataclass(kw_only=True, frozen=True)
class TaskType:
    """A task type. parameter_schema: the flow's JSON schema, or None where it is not at hand."""

    name: str
    group: str
    exporter: bool = False
    description: str = ""
    entrypoint: str = ""
    deployment_id: str = ""
    work_pool: str = POOL
    parameter_schema: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = field(default=())

    @property
    def handed_to(self) -> str:
        """The work pool that its runs are handed to; empty: Headway executes them itself."""
        return "" if self.work_pool == POOL else self.work_pool

    @classmethod
    def of_deployment(cls, name: str, tags: list[str], **facts: Any) -> "TaskType":
        """The type that a deployment of this name and tags makes; its group is its own name unless a tag says so."""
        try:
            needed_for(tags)
        except InvalidInput as error:
            raise InvalidInput(f"deployment '{name}': {error}") from None
        groups = [tag.removeprefix(GROUP_TAG) for tag in tags if tag.startswith(GROUP_TAG)]
        return cls(
            name=name, group=groups[0] if groups else name, exporter=EXPORTER_TAG in tags, tags=tuple(tags), **facts
        )


OWN_PREFECT_YAML = Path(__file__).resolve().parents[2] / "prefect.yaml"


def is_task_type(work_pool: str | None, tags: Collection[str]) -> bool:
    """Whether a deployment is a task type: on the headway pool, or on another and tagged `headway`."""
    return work_pool == POOL or HEADWAY_TAG in tags


def _pool_of(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("work_pool") or {}).get("name") or POOL)


def prefect_yaml() -> Path:
    """The prefect.yaml of the working folder, else Headway's own."""
    here = Path.cwd() / "prefect.yaml"
    return here if here.exists() else OWN_PREFECT_YAML


def all_prefect_yamls() -> list[Path]:
    """Headway's own, and behind it the working folder's where that is another."""
    both = dict.fromkeys((OWN_PREFECT_YAML, prefect_yaml().resolve()))
    return [file for file in both if file.exists()] or [OWN_PREFECT_YAML]


def known_types() -> dict[str, TaskType]:
    """The shipped task types, and those of the working folder's prefect.yaml over them. Schemas are not at hand."""
    return {name: one for file in all_prefect_yamls() for name, one in types_in(file).items()}


def types_in(path: Path) -> dict[str, TaskType]:
    """The task types that a prefect.yaml deploys, by name. Their schemas are not at hand."""
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(path.read_text(encoding="utf-8"), loader)  # nosec B506
        deployments = (content or {}).get("deployments") or []
        return {
            one["name"]: TaskType.of_deployment(
                one["name"],
                list(one.get("tags") or []),
                description=one.get("description") or "",
                entrypoint=one.get("entrypoint") or "",
                work_pool=_pool_of(one),
            )
            for one in deployments
            if is_task_type(_pool_of(one), one.get("tags") or [])
        }
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file, so no task types are known") from None
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, OSError, ValueError) as error:
        raise InvalidInput(f"{path}: not a prefect.yaml that can be read: {error}") from None
