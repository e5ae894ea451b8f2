"""The flows that the crash tests kill; a separate process runs one flow run, given its id."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from prefect import Flow, flow, suspend_flow_run, task
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from prefect_qiskit_runtime import (
    RuntimeBackend,
    RuntimeServiceCredentials,
    run_program,
    submit_program,
)
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.models import OUR_SERVICE
from prefect_qiskit_runtime.records import records

SETTINGS = json.loads(os.environ.get("CRASH_SETTINGS", "{}"))


class Keyless(RuntimeApi):
    """Our service, used like one without idempotency keys."""

    kind = replace(OUR_SERVICE, is_keyed=False)


def backend() -> RuntimeBackend:
    credentials = RuntimeServiceCredentials(url=SETTINGS["url"], token=SETTINGS["token"])
    return RuntimeBackend(service="team", credentials=credentials, retry_delay_seconds=0.1)


def note(what: str) -> None:
    """Write a line that the test reads, however this process ends."""
    with Path(SETTINGS["notes"]).open("a") as notes:
        notes.write(f"{what}\n")


def seen(job_id: str, interim: int) -> None:
    note(f"interim {interim}")


@flow
def evaluating() -> float:
    return run_program(SETTINGS["program"], SETTINGS["inputs"], backend=backend(), callback=seen)


@task
def submitting(number: int) -> float:
    return submit_program(SETTINGS["program"], SETTINGS["inputs"], backend=backend()).result()


@flow
def mapping(count: int) -> list[float]:
    return submitting.map(range(count)).result()


@flow
def child() -> float:
    return run_program(SETTINGS["program"], SETTINGS["inputs"], backend=backend(), callback=seen)


@flow
def parent() -> float:
    return child()


@flow
def privately() -> float:
    options = {"private": True}
    return run_program(SETTINGS["program"], {}, backend=backend(), options=options)


@flow
def suspending() -> float:
    result = run_program(SETTINGS["program"], SETTINGS["inputs"], backend=backend())
    suspend_flow_run()  # for the first time only
    return result


FLOWS: dict[str, Flow[..., object]] = {
    "evaluating": evaluating,
    "mapping": mapping,
    "parent": parent,
    "privately": privately,
    "suspending": suspending,
}


def _die_at_records(moment: str) -> None:
    """Kill this process before or after the first record that it writes."""
    write = records.Records.write

    async def dying(self: records.Records, name: str, record: dict[str, object]) -> None:
        if moment == "after":
            await write(self, name, record)
        os.kill(os.getpid(), signal.SIGKILL)

    records.Records.write = dying


def _without_keys() -> None:
    @asynccontextmanager
    async def connect(credentials: RuntimeServiceCredentials) -> AsyncIterator[RuntimeApi]:
        url, token = str(credentials.url), credentials.token.get_secret_value()
        async with Keyless(url, token) as api:
            yield api

    RuntimeServiceCredentials.connect = connect  # type: ignore[method-assign]


def main(name: str, flow_run_id: str) -> None:
    if SETTINGS.get("keyless"):
        _without_keys()
    if SETTINGS.get("die_at_record"):
        _die_at_records(SETTINGS["die_at_record"])
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(flow_run_id))
    result = run_flow(FLOWS[name], flow_run=flow_run, parameters=flow_run.parameters)
    note(f"result {json.dumps(result)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
