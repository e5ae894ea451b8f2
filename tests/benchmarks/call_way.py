"""The way of a call through the caller's process: how many files and functions it visits, how deep.

`python tests/benchmarks/call_way.py` prints it for a warm `run_program` on the embedded service and
a warm `run_estimator` on the simulated IBM, each in a flow run, beside `httpx.get`. It measures how
much a reader has to know, not time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

OURS = "prefect_qiskit_runtime"
TRIVIAL = "def main(backend, user_messenger, *, value):\n    return value\n"


@dataclass
class Way:
    """The functions of one package that a call has entered, in all threads of this process."""

    package: str
    functions: set[tuple[str, str, int]] = field(default_factory=set)
    depth: int = 0

    def __str__(self) -> str:
        files = {file for file, _, _ in self.functions}
        return f"{len(files):>5} {len(self.functions):>9} {self.depth:>5}"

    def enter(self, frame: FrameType) -> None:
        """Count a function that is being entered, if it is the package's."""
        if self._has(frame):
            code = frame.f_code
            self.functions.add((code.co_filename, code.co_qualname, code.co_firstlineno))
            self.depth = max(self.depth, self._depth_of(frame))

    def _has(self, frame: FrameType) -> bool:
        code = frame.f_code
        return f"{os.sep}{self.package}{os.sep}" in code.co_filename and "<" not in code.co_name

    def _depth_of(self, frame: FrameType | None) -> int:
        depth = 0
        while frame is not None:
            depth += self._has(frame)
            frame = frame.f_back
        return depth


class Follower:
    """Follows calls through all threads that start after it was made."""

    def __init__(self) -> None:
        self._way: Way | None = None
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def follow(self, package: str, call: Callable[[], object]) -> Way:
        """Return the way of one call through a package."""
        self._way = way = Way(package)
        try:
            call()
        finally:
            self._way = None
        return way

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if self._way is not None and event == "call":
            self._way.enter(frame)


def way_of_program(follower: Follower) -> Way:
    """Follow the second of two calls of an uploaded program in one flow run."""
    from prefect import flow

    from prefect_qiskit_runtime import RuntimeBackend, run_program, upload_program

    @flow(name="run-program")
    def calls() -> Way:
        backend = RuntimeBackend()
        program_id = upload_program(TRIVIAL, name="trivial", backend=backend)
        run_program(program_id, {"value": 1}, backend=backend)
        return follower.follow(OURS, lambda: run_program(program_id, {"value": 2}, backend=backend))

    return calls()


def way_of_estimator(follower: Follower) -> Way:
    """Follow the second of two calls of the estimator on the simulated IBM in one flow run."""
    from prefect import flow
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, run_estimator
    from prefect_qiskit_runtime.testing import offline_service

    circuit = QuantumCircuit(1)
    circuit.sx(0)

    with offline_service(imitate="ibm") as service:
        login = {"api_key": service.token, "url": f"{service.url}/api/v1"}
        credentials = IBMQuantumCredentials.model_validate(login)
        backend = RuntimeBackend(name="fake_manila", service="ibm", credentials=credentials)

        @flow(name="run-estimator")
        def calls() -> Way:
            run_estimator([(circuit, "Z")], backend=backend)
            return follower.follow(OURS, lambda: run_estimator([(circuit, "X")], backend=backend))

        return calls()


def way_of_httpx(follower: Follower) -> Way:
    """Follow the second of two requests to a server in a thread."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    import httpx

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    httpx.get(url, trust_env=False)
    way = follower.follow("httpx", lambda: httpx.get(url, trust_env=False))
    server.shutdown()
    return way


def main() -> None:
    """Print the table."""
    from prefect.testing.utilities import prefect_test_harness

    follower = Follower()
    with tempfile.TemporaryDirectory() as home:
        os.environ["PREFECT_QISKIT_RUNTIME_HOME"] = home
        with prefect_test_harness(server_startup_timeout=180):
            ways = {
                "run_program, embedded service": way_of_program(follower),
                "run_estimator, simulated IBM": way_of_estimator(follower),
            }
        command = [sys.executable, "-m", "prefect_qiskit_runtime.cli", "service", "stop"]
        subprocess.run(command, check=True, capture_output=True)
    ways["httpx.get"] = way_of_httpx(follower)
    print(f"{'':<32} files functions depth")
    for name, way in ways.items():
        print(f"{name:<32} {way}")


if __name__ == "__main__":
    main()
