"""Blocks that hold what is needed to log in to a Runtime service.

Building, loading and saving them touches no network. The embedded service needs none.
"""

from __future__ import annotations

from prefect.blocks.abstract import CredentialsBlock
from pydantic import AnyHttpUrl, Field, SecretStr

from prefect_qiskit_runtime.client import RuntimeApi, RuntimeClient


class RuntimeServiceCredentials(CredentialsBlock):
    """Where a team's Runtime service listens, and the token to log in with.

    Example:
        Load saved credentials:
        ```python
        from prefect_qiskit_runtime import RuntimeServiceCredentials

        credentials = RuntimeServiceCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Qiskit Runtime Service Credentials"
    _block_type_slug = "qiskit-runtime-service-credentials"

    url: AnyHttpUrl = Field(
        description="Address of the service, as its administrator gave it to you.",
        examples=["https://runtime.example.org:8400"],
    )
    token: SecretStr = Field(description="Your personal token for this service.")
    instance: str | None = Field(
        default=None, description="Instance to work in; empty for the service's default."
    )
    verify_tls: bool = Field(
        default=True,
        description="Whether to check the service's certificate. Switch off for tests only.",
    )

    def api(self) -> RuntimeApi:
        """The service's endpoints, logged in; an async context manager."""
        return RuntimeApi(
            str(self.url).rstrip("/"),
            self.token.get_secret_value(),
            instance=self.instance,
            verify=self.verify_tls,
        )

    def get_client(self) -> RuntimeClient:
        """A client of this service that works without Prefect; an async context manager."""
        return RuntimeClient(
            url=str(self.url).rstrip("/"),
            token=self.token.get_secret_value(),
            instance=self.instance,
            verify=self.verify_tls,
        )
