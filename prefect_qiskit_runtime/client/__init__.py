"""The client of the Runtime protocol: authentication, requests, streams, errors.

`RuntimeApi` connects to a service by its URL, `IbmApi` connects to IBM Quantum, and
`embedded_api` finds or starts the service of this machine. All three carry encoded text and do
not depend on Qiskit. `RuntimeClient` and its twin `SyncRuntimeClient` encode and decode, for
notebooks and tests.

The transport never decodes, a job is never submitted twice, and nothing here imports Prefect.
"""

from __future__ import annotations

from prefect_qiskit_runtime.client._accounts import IbmAccount, SavedAccount
from prefect_qiskit_runtime.client._api import (
    LARGEST_BODY_BYTES,
    LEAVE_SECONDS,
    HardwareAccess,
    RuntimeApi,
)
from prefect_qiskit_runtime.client._backends import RuntimeClientBackend
from prefect_qiskit_runtime.client._blocking import (
    SyncRuntimeClient,
    SyncRuntimeClientBackend,
    SyncRuntimeClientJob,
    SyncRuntimeClientSession,
)
from prefect_qiskit_runtime.client._embedded import (
    EmbeddedStatus,
    embedded_api,
    embedded_status,
    own_image,
    start_embedded,
    stop_embedded,
)
from prefect_qiskit_runtime.client._jobs import RuntimeClientJob
from prefect_qiskit_runtime.client._outcome import job_error
from prefect_qiskit_runtime.client._parameters import InputsLike, ParameterNamespace, read_inputs
from prefect_qiskit_runtime.client._programs import (
    RuntimeClientProgram,
    format_program,
    format_programs,
)
from prefect_qiskit_runtime.client._proxies import Proxies
from prefect_qiskit_runtime.client._results import (
    already_read,
    error_of_deleted_job,
    explain_deletion,
    is_page_of_gateway,
    page_for_result,
    read_error,
    read_result,
)
from prefect_qiskit_runtime.client._runtime import RuntimeClient
from prefect_qiskit_runtime.client._sessions import RuntimeClientSession
from prefect_qiskit_runtime.client._sources import (
    ProgramDraft,
    read_changes,
    read_program,
    read_source,
)
from prefect_qiskit_runtime.client._spending import (
    LONGEST_JOB_SECONDS,
    Spending,
    Spent,
    expected_seconds,
    usage_of,
)
from prefect_qiskit_runtime.client._transport import (
    settings_of_environment,
    was_connected,
    was_sent,
)
from prefect_qiskit_runtime.client.ibm.api import IbmApi
from prefect_qiskit_runtime.client.ibm.limits import (
    KNOWN_SECONDS,
    TOO_MANY_PENDING,
    instance_name,
    wait_for_room,
)
from prefect_qiskit_runtime.client.ibm.verifying import verify_account

__all__ = [
    "KNOWN_SECONDS",
    "LARGEST_BODY_BYTES",
    "LEAVE_SECONDS",
    "LONGEST_JOB_SECONDS",
    "TOO_MANY_PENDING",
    "EmbeddedStatus",
    "HardwareAccess",
    "IbmAccount",
    "IbmApi",
    "InputsLike",
    "ParameterNamespace",
    "ProgramDraft",
    "Proxies",
    "RuntimeApi",
    "RuntimeClient",
    "RuntimeClientBackend",
    "RuntimeClientJob",
    "RuntimeClientProgram",
    "RuntimeClientSession",
    "SavedAccount",
    "Spending",
    "Spent",
    "SyncRuntimeClient",
    "SyncRuntimeClientBackend",
    "SyncRuntimeClientJob",
    "SyncRuntimeClientSession",
    "already_read",
    "embedded_api",
    "embedded_status",
    "error_of_deleted_job",
    "expected_seconds",
    "explain_deletion",
    "format_program",
    "format_programs",
    "instance_name",
    "is_page_of_gateway",
    "job_error",
    "own_image",
    "page_for_result",
    "read_changes",
    "read_error",
    "read_inputs",
    "read_program",
    "read_result",
    "read_source",
    "settings_of_environment",
    "start_embedded",
    "stop_embedded",
    "usage_of",
    "verify_account",
    "wait_for_room",
    "was_connected",
    "was_sent",
]
