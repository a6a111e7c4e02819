"""A flow that says when its run came due, for the test that this arrives."""

from prefect import flow

from headway.flows.shared.result import run_due, run_object, run_zone


@flow
def due_of_the_run() -> dict[str, str]:
    """Returns what it knows of its task, as its summary."""
    return {"summary": f"{run_due().isoformat()} {run_zone()} {run_object()}"}
