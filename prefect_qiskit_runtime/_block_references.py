"""A backend as it goes to another process or into a result: without its login.

The login is in a saved block, which whoever needs it there loads anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.blocks.core import Block

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.errors import ConfigurationError


@dataclass(frozen=True)
class BlockReference:
    """A backend block without its login.

    Attributes:
        fields: Those of the block, but for the credentials.
        document_id: Of the saved block that has the credentials, or is them; None without one.
    """

    fields: dict[str, Any]
    document_id: UUID | None

    def resolved(self) -> RuntimeBackend:
        """Return the backend, with the login as it is saved now.

        Raises:
            ConfigurationError: It is in no saved block.
        """
        if self.document_id is None:
            raise ConfigurationError(
                f"The login to the {self.fields['service']} service did not come along with the"
                " job, because it is in no saved block. Save the RuntimeBackend or its credentials"
                " before the flow runs, or use attach_job with the id of the job and a backend."
            )
        # A synchronous client: what asks may be a property, in any thread or loop.
        with get_client(sync_client=True) as client:
            document = client.read_block_document(self.document_id)
        block = Block._from_block_document(document)
        credentials = block.credentials if isinstance(block, RuntimeBackend) else block
        return RuntimeBackend.model_validate({**self.fields, "credentials": credentials})


def without_login(backend: RuntimeBackend | BlockReference) -> RuntimeBackend | BlockReference:
    """Return a backend as it may leave the process."""
    if isinstance(backend, BlockReference) or backend.credentials is None:
        return backend
    fields = {name: getattr(backend, name) for name in type(backend).model_fields}
    del fields["credentials"]
    saved = backend.credentials._block_document_id or backend._block_document_id
    return BlockReference(fields, saved)
