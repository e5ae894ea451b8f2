"""The flows of the matrix as deployments: run as a script, it serves them under a name.

    python served.py NAME FLOW...

The process of each flow run loads this file too, and finds its order in a file that `CRASH_ORDER`
names.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import ours
from host import flows_of, note, write_to_log
from prefect import Flow, State
from prefect.runner import Runner

ORDER: dict[str, Any] = {}


def note_result(flow: Flow[..., Any], flow_run: object, state: State[Any]) -> None:
    note(ORDER, f"result {json.dumps(state.result())}")


FLOWS = flows_of(lambda: ours.work(ORDER))
evaluating = FLOWS["evaluating"].with_options(on_completion=[note_result])
parent = FLOWS["parent"].with_options(on_completion=[note_result])


async def main(name: str, *flows: str) -> None:
    """Serve flows as deployments of one name."""
    runner = Runner()
    for flow in flows:
        served = await Flow.afrom_source(str(Path(__file__).parent), f"served.py:{flow}")
        await runner.aadd_deployment(await served.ato_deployment(name))
    await runner.start()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
elif "PREFECT__FLOW_RUN_ID" in os.environ:
    ORDER.update(json.loads(Path(os.environ["CRASH_ORDER"]).read_text()))
    write_to_log(ORDER)
    note(ORDER, f"process {os.getpid()}")
