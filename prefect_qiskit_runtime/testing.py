"""A Runtime service that fails on request, in a process of its own: for tests of your flows.

It is the service that `prefect-qiskit-runtime serve --fault-mode` runs. Nothing of it is for
anything but tests.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import httpx

from prefect_qiskit_runtime.errors import ConfigurationError, QiskitRuntimeError

if TYPE_CHECKING:
    from prefect_qiskit_runtime.backend import RuntimeBackend
    from prefect_qiskit_runtime.credentials import RuntimeServiceCredentials

__all__ = ["OfflineService", "offline_service"]

_USER = "tester"
_TOKEN = "token-of-tester"  # noqa: S105 - of a service that only tests on this machine can reach
_REQUEST_SECONDS = 60.0
_END_SECONDS = 30.0


class OfflineService:
    """A running service with its fault mode; made by `offline_service`.

    Attributes:
        url: Where it listens, on this machine.
        token: The token of its one user.
        process: Its process, to be killed by whoever wants to see what happens then.
    """

    def __init__(self, url: str, token: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.token = token
        self.process = process
        self._http = httpx.Client(
            base_url=f"{url}/fault-mode",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_REQUEST_SECONDS,
            trust_env=False,
        )

    def credentials(self) -> RuntimeServiceCredentials:
        """Return the credentials block for it."""
        from prefect_qiskit_runtime.credentials import RuntimeServiceCredentials

        given = {"url": self.url, "token": self.token}
        return RuntimeServiceCredentials.model_validate(given)

    def backend(self, name: str = "aer_simulator", **fields: Any) -> RuntimeBackend:
        """Return a backend block for it.

        Args:
            name: The backend.
            fields: Further fields of `RuntimeBackend`.
        """
        from prefect_qiskit_runtime.backend import RuntimeBackend

        return RuntimeBackend(name=name, service="team", credentials=self.credentials(), **fields)

    def add(self, fault: str, **fields: Any) -> str:
        """Put a scenario in force and return its id.

        Args:
            fault: Its kind, such as `refuse`, `cut` or `end_job`.
            fields: The rest of it; the reference of the fault mode lists them.

        Raises:
            QiskitRuntimeError: There is no such fault, or a field of it is wrong.
        """
        return self._ask("POST", "/scenarios", json={"fault": fault, **fields})["id"]

    def scenarios(self) -> list[dict[str, Any]]:
        """Return the scenarios in force, with how often each was met and has acted."""
        return self._ask("GET", "/scenarios")["scenarios"]

    def remove(self, scenario_id: str) -> None:
        """Take a scenario back; what it holds goes on."""
        self._ask("DELETE", f"/scenarios/{scenario_id}")

    def clear(self) -> None:
        """Take all scenarios back and forget the requests so far."""
        self._ask("DELETE", "/scenarios")
        self._ask("DELETE", "/journal")

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward; what is due by then happens at once."""
        self._ask("POST", "/clock/advance", json={"seconds": seconds})

    def requests(self, method: str | None = None, path: str | None = None) -> list[dict[str, Any]]:
        """Return the requests that came, the first first.

        Args:
            method: Those of this method only.
            path: Those of this path only; `*` stands for anything but `/`, `**` for anything.
        """
        wanted = {"method": method, "path": path}
        query = {name: value for name, value in wanted.items() if value is not None}
        return self._ask("GET", "/journal", params=query)["requests"]

    def close(self) -> None:
        """Close the connection to its control endpoints."""
        self._http.close()

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        answer = self._http.request(method, path, **what)
        if answer.is_error:
            raise QiskitRuntimeError(answer.json()["error"]["message"])
        return answer.json() if answer.content else None


@contextmanager
def offline_service(
    *, home: Path | None = None, imitate: Literal["ibm"] | None = None
) -> Iterator[OfflineService]:
    """Run a service with its fault mode while the context is open.

    Args:
        home: Its folder; a temporary one by default. A folder that is given stays.
        imitate: `"ibm"` for a service that behaves as IBM's cloud does today.

    Raises:
        ConfigurationError: It did not start; the message has what it said.
    """
    with ExitStack() as stack:
        if home is None:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="offline-service-"))
            home = Path(root) / "home"
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        process = stack.enter_context(_process(home, imitate, log))
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        line = process.stdout.readline()
        if not line.startswith("ready "):
            log.seek(0)
            raise ConfigurationError(f"The offline service did not start: {log.read().strip()}")
        service = OfflineService(line.removeprefix("ready ").strip(), _TOKEN, process)
        stack.callback(service.close)
        yield service


@contextmanager
def _process(home: Path, imitate: str | None, log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    arguments = ["--home", str(home), "--port", "0", "--user", f"{_USER}:{_TOKEN}", "--fault-mode"]
    if imitate is not None:
        arguments += ["--as", imitate]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect_qiskit_runtime.cli", "serve", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
