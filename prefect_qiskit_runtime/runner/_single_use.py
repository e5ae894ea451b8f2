"""A process that waits for one job and runs it itself, where fork is not safe (macOS).

The service keeps one of these in reserve and watches it as its own child.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.runner import _libraries, _process
from prefect_qiskit_runtime.runner._control import Control

__all__ = ["serve"]


def serve(descriptor: int) -> None:
    """Load the libraries, wait for the one launch request, run the job and exit."""
    parent = os.getppid()
    _process.set_parent_death_signal(parent)
    _process.set_subreaper()
    site_folders = _libraries.site_folders()
    _libraries.load()
    versions = _libraries.versions()
    control = Control(descriptor)
    control.send({"type": "ready", "versions": versions, "site_folders": site_folders})
    try:
        request = _next_request(control)
    except EOFError:
        return
    pipes = control.take_pipes(request["descriptors"])
    control.send({"type": "launched", "job_id": request["job_id"]})
    control.close()
    from prefect_qiskit_runtime.runner import _job

    _job.run_and_exit(Path(request["scratch"]), pipes, versions)


def _next_request(control: Control) -> dict[str, Any]:
    while True:
        for request in control.read():
            return request
