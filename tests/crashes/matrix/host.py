"""Runs flows in processes that can be killed: forked from here, so that each starts at once.

    python host.py ours|foreign

Reads orders from its standard input, a JSON object a line, and answers each with one: `run` forks a
process and gives its `pid`; `poll` gives the `status` that one ended with, null while it runs.
Needs Prefect and one of the clients, in either environment.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from prefect import Flow, flow, task
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)
from prefect.states import AwaitingRetry

Work = Callable[[dict[str, Any]], Any]
"""The flow that serves an order with one of the clients."""


def main(client: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print, and must not answer
    # The client, and what a flow run imports on its way.
    work = importlib.import_module(client).work
    for name in ("prefect.task_engine", "prefect.utilities.visualization", "pydantic.v1"):
        importlib.import_module(name)
    asyncio.run(anyio.sleep(0))
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            answer = {"pid": fork(work, order["run"])}
        print(json.dumps(answer), file=answers, flush=True)


def fork(work: Work, order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            write_to_log(order)
            run(work, order)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def run(work: Work, order: dict[str, Any]) -> None:
    """Run one flow run, a new one or one that has crashed; its results are noted in a file."""
    flow = flows_of(lambda: work(order))[order["flow"]]
    settings: dict[Any, Any] = {
        PREFECT_LOCAL_STORAGE_PATH: Path(order["storage"]),
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # its thread is joined, which takes a second
    }
    with temporary_settings(settings):
        with get_client(sync_client=True) as client:
            if order["flow_run_id"] is None:
                flow_run = client.create_flow_run(flow)
                note(order, f"flow_run {flow_run.id}")
            else:
                client.set_flow_run_state(order["flow_run_id"], AwaitingRetry(), force=True)
                flow_run = client.read_flow_run(order["flow_run_id"])
        note(order, f"process {os.getpid()}")
        result = run_flow(flow, flow_run=flow_run, parameters={})
        note(order, f"result {json.dumps(result)}")


def flows_of(work: Callable[[], Any]) -> dict[str, Flow[..., Any]]:
    """Return flows around one piece of work, by their names: the shapes in which it is resumed."""
    has_failed = False

    @flow
    def evaluating() -> Any:
        return work()

    @task(retries=3)
    def evaluation() -> Any:
        nonlocal has_failed
        result = work()
        if not has_failed:
            has_failed = True
            raise ConnectionError("of the flow, not of the job: the task is retried")
        return result

    @flow
    def in_a_task() -> Any:
        return evaluation()

    @flow
    def child() -> Any:
        return work()

    @flow
    def parent() -> Any:
        return child()

    return {"evaluating": evaluating, "in_a_task": in_a_task, "parent": parent}


def write_to_log(order: dict[str, Any]) -> None:
    """Let this process print to a file."""
    with Path(order["log"]).open("ab") as log, Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def note(order: dict[str, Any], line: str) -> None:
    """Write a line that the test reads, however this process ends."""
    with Path(order["notes"]).open("a") as notes:
        notes.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1])
