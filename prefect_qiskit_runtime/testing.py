"""A Runtime service that fails on request, in a separate process, for tests of your flows.

It is the service that `prefect-qiskit-runtime serve --fault-mode` runs. Use it only for tests.
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
    """A running service with its fault mode; created by `offline_service`.

    Attributes:
        url: Its address on this machine.
        token: The token of its only user.
        process: Its process, which a test may kill.
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
        """Return a credentials block for the service."""
        from prefect_qiskit_runtime.credentials import RuntimeServiceCredentials

        given = {"url": self.url, "token": self.token}
        return RuntimeServiceCredentials.model_validate(given)

    def backend(self, name: str = "aer_simulator", **fields: Any) -> RuntimeBackend:
        """Return a backend block for the service.

        Args:
            name: The backend.
            fields: Further fields of `RuntimeBackend`.
        """
        from prefect_qiskit_runtime.backend import RuntimeBackend

        return RuntimeBackend(name=name, service="team", credentials=self.credentials(), **fields)

    def add(self, fault: str, **fields: Any) -> str:
        """Activate a scenario and return its id.

        Args:
            fault: Its kind, such as `refuse`, `cut` or `end_job`.
            fields: Its other fields; the reference of the fault mode lists them.

        Raises:
            QiskitRuntimeError: The fault does not exist, or a field is invalid.
        """
        return self._ask("POST", "/scenarios", json={"fault": fault, **fields})["id"]

    def scenarios(self) -> list[dict[str, Any]]:
        """Return the active scenarios, with how often each was matched and applied."""
        return self._ask("GET", "/scenarios")["scenarios"]

    def remove(self, scenario_id: str) -> None:
        """Remove a scenario; the requests that it holds continue."""
        self._ask("DELETE", f"/scenarios/{scenario_id}")

    def clear(self) -> None:
        """Remove all scenarios and forget the requests so far."""
        self._ask("DELETE", "/scenarios")
        self._ask("DELETE", "/journal")

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward; everything that becomes due happens at once."""
        self._ask("POST", "/clock/advance", json={"seconds": seconds})

    def requests(self, method: str | None = None, path: str | None = None) -> list[dict[str, Any]]:
        """Return the received requests in order.

        Args:
            method: Only requests with this method.
            path: Only requests with this path; `*` matches anything except `/`, `**` anything.
        """
        wanted = {"method": method, "path": path}
        query = {name: value for name, value in wanted.items() if value is not None}
        return self._ask("GET", "/journal", params=query)["requests"]

    def close(self) -> None:
        """Close the connection to its control endpoints."""
        self._http.close()

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            raise QiskitRuntimeError(answer.json()["error"]["message"])
        return answer.json() if answer.content else None


@contextmanager
def offline_service(
    *, home: Path | None = None, imitate: Literal["ibm"] | None = None
) -> Iterator[OfflineService]:
    """Run a service with its fault mode while the context is open.

    Args:
        home: Its folder; a temporary one by default. A given folder is not deleted.
        imitate: `"ibm"` for a service that behaves like IBM's cloud does today.

    Raises:
        ConfigurationError: The service did not start; the message contains its output.
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
