"""Lot audit: compares what the gates counted with what the sensors see, and reports each lot that is off.

A data team's own flow. It knows Prefect and nothing of Headway: what it logs and returns is all that is asked of it.
"""

from datetime import date
from typing import Annotated, Literal

from prefect import flow, get_run_logger, task
from pydantic import BaseModel, Field


class Lot(BaseModel):
    """One lot, as its gate and its sensors see it."""

    name: str = Field(description="Name of the lot.")
    gate: int = Field(ge=0, description="Cars that the gate let in and not out.")
    sensors: int = Field(ge=0, description="Places that are taken.")


SAMPLE = [Lot(name="North", gate=120, sensors=118), Lot(name="Harbour", gate=80, sensors=55)]


@task
def cars_missing(lot: Lot) -> int:
    return abs(lot.gate - lot.sensors)


@flow(name="lot_audit")
def lot_audit(
    lots: list[Lot] = SAMPLE,
    tolerance: Annotated[int, Field(ge=0, le=1000)] = 5,
    day: date | None = None,
    detail: Literal["all", "only what is off"] = "only what is off",
) -> dict[str, object]:
    """Compares what the gates counted with what the sensors see.

    Args:
        lots: The lots to compare.
        tolerance: So many cars may be missing or too many.
        day: The day that is audited; left out, the day of the run.
        detail: Which lots the log names.
    """
    logger = get_run_logger()
    off = 0
    for lot in lots:
        missing = cars_missing(lot)
        if missing > tolerance:
            off += 1
            logger.error(f"{lot.name} is off by {missing} cars")
        elif detail == "all":
            logger.info(f"{lot.name} is right to {missing} cars")
    summary = f"{len(lots)} lots on {day or date.today()}, {off} of them off"
    return {"processed": len(lots), "errors": off, "summary": summary}
