"""A task type on another work pool, executed by Prefect's stock process worker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headway.models.values.run import RunStatus
from tests.support.project import PROJECT
from tests.support.running_stack import RunningStack, processes_of, until

pytest_plugins = ["tests.support.stack"]

FLOWS = """
import time
from pathlib import Path

from prefect import flow, get_run_logger


@flow(persist_result=True)
def counted(rows: int = 3) -> dict:
    get_run_logger().info(f"counting {rows} rows elsewhere")
    return {"processed": rows, "errors": 1, "summary": f"{rows} rows elsewhere"}


@flow
def shipped(rows: int = 5):
    from headway.flows.shared.result import RunResult, completed

    return completed(RunResult(processed=rows, summary=f"{rows} rows, left in Prefect"))


@flow
def endless(mark: str = "began"):
    Path(mark).write_text("x")
    time.sleep(600)
"""
DEPLOYMENTS = """
deployments:
""" + "".join(
    f"""  - name: elsewhere_{name}
    entrypoint: elsewhere.py:{name}
    tags: [headway]
    work_pool: {{name: stock}}
    pull: [{{prefect.deployments.steps.set_working_directory: {{directory: FOLDER}}}}]
"""
    for name in ("counted", "shipped", "endless")
)


@contextmanager
def stock_worker(stack: RunningStack) -> Iterator[None]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "stock", "--type", "process"]
    environment = {**stack.headway.environment, **prefect_environment(stack), "PYTHONPATH": str(PROJECT)}
    with (stack.headway.folder / "stock.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--install-policy", "never"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        worker.send_signal(signal.SIGINT)
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def prefect_environment(stack: RunningStack) -> dict[str, str]:
    from headway.scheduler.prefect_side.server import client_environment

    return client_environment(stack.headway.home, stack.server.port, environ={})


def test_claimed_here_executed_there_counted_here(stack: RunningStack) -> None:
    folder = stack.headway.folder / "elsewhere"
    folder.mkdir()
    (folder / "elsewhere.py").write_text(FLOWS)
    (folder / "prefect.yaml").write_text(DEPLOYMENTS.replace("FOLDER", str(folder)))
    stack.server.api()._send("POST", "/work_pools/", json={"name": "stock", "type": "process"})
    assert "elsewhere_counted" in stack.headway("deploy", str(folder / "prefect.yaml")).ok().out
    mark = folder / "began"
    stack.apply(
        "  - {name: Counted elsewhere, type: elsewhere_counted, parameters: {rows: 4}}\n",
        "  - {name: Shipped elsewhere, type: elsewhere_shipped}\n",
        f"  - {{name: Endless elsewhere, type: elsewhere_endless, parameters: {{mark: '{mark}'}}}}\n",
    )
    with stock_worker(stack):
        for name in ("Counted elsewhere", "Shipped elsewhere", "Endless elsewhere"):
            stack.headway("run", name).ok()
        counted = stack.ended("Counted elsewhere", 180)
        assert (counted.status, counted.processed, counted.errors) == (RunStatus.COMPLETED_WITH_ERRORS, 4, 1)
        lines = stack.headway("log", str(counted.id), "--json").json()["lines"]
        assert any("counting 4 rows elsewhere" in line["message"] for line in lines)
        shipped = stack.ended("Shipped elsewhere", 180)
        assert (shipped.status, shipped.processed, shipped.message) == (
            RunStatus.COMPLETED,
            5,
            "5 rows, left in Prefect",
        )

        until(mark.exists, "the endless flow elsewhere", 120)
        stack.in_state("Endless elsewhere", RunStatus.RUNNING)
        flow_process = [pid for pid, command in processes_of(stack.headway.home).items() if "prefect.engine" in command]
        stack.headway("reset", "Endless elsewhere", "--yes").ok()
        assert stack.ended("Endless elsewhere").status is RunStatus.CANCELLED
        assert flow_process
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in flow_process), "the end of its process", 120)
