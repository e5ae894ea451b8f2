"""A flow whose two jobs are awaited by workers of a cluster, until it is interrupted.

python fan_out.py TASK_RUNNER ADDRESS PROGRAM_ID      the task runner by its full name
"""

from __future__ import annotations

import sys

from prefect import flow
from prefect.runtime import flow_run
from prefect.utilities.importtools import from_qualified_name

from prefect_qiskit_runtime import cancel_on_exit, run_program


@flow(**cancel_on_exit(crashed=True))
def fan_out(program_id: str) -> None:
    print("FLOW", flow_run.id, flush=True)
    inputs = [{"number": 1}, {"number": 2}]
    run_program.map([program_id] * 2, inputs, backend="aer_simulator").result()


if __name__ == "__main__":
    task_runner, address, program_id = sys.argv[1:]
    runner = from_qualified_name(task_runner)(address=address)
    fan_out.with_options(task_runner=runner)(program_id)
