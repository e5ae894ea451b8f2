"""The client for people: the method names of the Qiskit Runtime services, without Prefect."""

from __future__ import annotations

from prefect_qiskit_runtime.client._sessions import SessionsClient
from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.models import BackendStatus


class RuntimeClient(SessionsClient):
    """Programs, jobs, sessions and backends of one Runtime service; an async context manager.

    Without a url it is the embedded service of this machine, started when needed.

    Args:
        url: Base of the service's API; None for the embedded service.
        token: The user's token for it.
        instance: The instance (CRN) to use, where the service has several.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        settings: Home, time limits; read from the environment by default.

    Example:
        ```python
        from prefect_qiskit_runtime import RuntimeClient

        async with RuntimeClient() as client:
            program_id = await client.upload_program("hello_world.py")
            job = await client.run(program_id, {"iterations": 3}, callback=print)
            print(await job.result())
        ```
    """

    async def backends(
        self,
        name: str | None = None,
        *,
        min_num_qubits: int | None = None,
        simulator: bool | None = None,
        operational: bool | None = None,
    ) -> list[BackendStatus]:
        """List the backends of the service; None does not filter."""
        return [
            backend
            for backend in await self._api.list_backends()
            if name in (None, backend.name)
            and backend.qubits >= (min_num_qubits or 0)
            and simulator in (None, backend.simulator)
            and operational in (None, backend.operational)
        ]

    async def backend(self, name: str) -> BackendStatus:
        """Return a backend by its name.

        Raises:
            NotFoundError: The service has none of that name.
        """
        found = await self.backends(name)
        if not found:
            raise NotFoundError(
                f"The service at {self._api.url} has no backend {name!r}; backends() lists them.",
                kind="backend",
                identifier=name,
            )
        return found[0]
