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
"""Makes a deployment on another work pool a task type, too. Its runs are handed to that pool."""
GROUP_TAG = "group:"
"""Names the type's group; without it the group has the type's own name."""
EXPORTER_TAG = "exporter"
"""Marks a type that delivers to the importer path."""
SFTP_SLUG, IMPORTER_BLOCK = "sftp-server", "importer"
"""The Prefect block (type and name) of the server and folder that exporters deliver to."""


@dataclass(kw_only=True, frozen=True)
class TaskType:
    """A task type: what its deployment in Prefect, or in a prefect.yaml, says."""

    name: str
    group: str
    """Runs of one group never overlap."""
    exporter: bool = False
    """Whether it delivers to the importer path."""
    description: str = ""
    entrypoint: str = ""
    deployment_id: str = ""
    """Prefect's; empty for a type read from a prefect.yaml."""
    work_pool: str = POOL
    parameter_schema: Mapping[str, Any] | None = None
    """The flow's JSON schema; None for a type read from a prefect.yaml."""
    tags: tuple[str, ...] = field(default=())

    @property
    def handed_to(self) -> str:
        """The work pool that its runs are handed to; empty if Headway executes them itself."""
        return "" if self.work_pool == POOL else self.work_pool

    @classmethod
    def of_deployment(cls, name: str, tags: list[str], **facts: Any) -> "TaskType":
        """The type that a deployment of this name and these tags makes."""
        try:
            needed_for(tags)
        except InvalidInput as error:
            raise InvalidInput(f"deployment '{name}': {error}") from None
        groups = [tag.removeprefix(GROUP_TAG) for tag in tags if tag.startswith(GROUP_TAG)]
        return cls(
            name=name, group=groups[0] if groups else name, exporter=EXPORTER_TAG in tags, tags=tuple(tags), **facts
        )


OWN_PREFECT_YAML = Path(__file__).resolve().parents[3] / "prefect.yaml"


def is_task_type(work_pool: str | None, tags: Collection[str]) -> bool:
    """Whether a deployment is a task type: on the headway pool, or on another and tagged `headway`."""
    return work_pool == POOL or HEADWAY_TAG in tags


def _pool_of(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("work_pool") or {}).get("name") or POOL)


def prefect_yaml() -> Path:
    """The prefect.yaml of the working folder; without one, Headway's own."""
    here = Path.cwd() / "prefect.yaml"
    return here if here.exists() else OWN_PREFECT_YAML


def all_prefect_yamls() -> list[Path]:
    """Headway's own, then the working folder's if that is another."""
    both = dict.fromkeys((OWN_PREFECT_YAML, prefect_yaml().resolve()))
    return [file for file in both if file.exists()] or [OWN_PREFECT_YAML]


def known_types() -> dict[str, TaskType]:
    """The shipped task types and those of the working folder's prefect.yaml, which win. Without schemas."""
    return {name: one for file in all_prefect_yamls() for name, one in types_in(file).items()}


def types_in(path: Path) -> dict[str, TaskType]:
    """The task types that a prefect.yaml deploys, by name. Without schemas."""
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
