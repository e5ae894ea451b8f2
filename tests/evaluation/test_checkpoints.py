"""Jobs whose process is killed with -9: the next attempt goes on from their checkpoints."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from prefect import flow

from prefect_qiskit_runtime import JobProcessError, run_program, update_program, upload_program

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")

COUNTING = """
import os
import time
import numpy as np

def main(backend, user_messenger, *, dies_at, checkpoint=None, checkpoints=None):
    begun = checkpoint["state"].sum() if checkpoint else len(checkpoints or ())
    for number in range(begun, 5):
        made = {"state": np.ones(number + 1, dtype=int)}
        user_messenger.publish({"number": number, "pid": os.getpid(), "checkpoint": made})
        user_messenger.publish("between")
        while number in dies_at and begun < number:
            time.sleep(0.01)
    return {"begun": begun, "last": checkpoint, "all": checkpoints}
"""


def upload(wanted: str, name: str) -> str:
    dies_at: dict[str, Any] = {"dies_at": {"type": "array"}}
    spec = {"parameters": {"type": "object", "properties": {**dies_at, wanted: {}}}}
    return upload_program.fn(COUNTING, name=name, spec=spec)


def killed(program_id: str, dies_at: list[int], *, between: Any = None) -> tuple[Any, list[int]]:
    """Run it in a flow that is retried; return its result, and the numbers it published."""
    numbers: list[int] = []
    deaths = list(dies_at)

    def hear(_: str, interim: Any) -> None:
        if interim == "between":
            return
        numbers.append(interim["number"])
        if interim["number"] in deaths:
            deaths.remove(interim["number"])
            os.kill(interim["pid"], signal.SIGKILL)

    @flow(retries=len(dies_at))
    def counting() -> Any:
        try:
            inputs = {"dies_at": dies_at}
            return run_program(program_id, inputs, backend="aer_simulator", callback=hear)
        except JobProcessError:
            if between is not None:
                between()
            raise

    return counting(), numbers


def test_an_input_checkpoint_is_the_last_one() -> None:
    result, numbers = killed(upload("checkpoint", "counting-last"), [2])
    assert numbers == [0, 1, 2, 3, 4]
    assert result["last"]["state"].tolist() == [1, 1, 1]
    assert result["all"] is None


def test_an_input_checkpoints_is_all_of_all_attempts() -> None:
    result, numbers = killed(upload("checkpoints", "counting-all"), [1, 3])
    assert numbers == [0, 1, 2, 3, 4]
    assert [one["state"].tolist() for one in result["all"]] == [[1], [1, 1], [1] * 3, [1] * 4]
    assert result["last"] is None


def test_another_version_of_the_program_begins_at_the_beginning() -> None:
    program_id = upload("checkpoint", "counting-again")

    def change() -> None:
        update_program.fn(program_id, source=COUNTING.replace("in dies_at and", "is None and"))

    result, numbers = killed(program_id, [2], between=change)
    assert numbers == [0, 1, 2, 0, 1, 2, 3, 4]
    assert result["begun"] == 0
