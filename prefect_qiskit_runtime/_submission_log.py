"""What the log of a flow run says of the jobs that it submits or shares."""

from __future__ import annotations

from prefect_qiskit_runtime._identity import Request
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import JobSubmitted


def tell_submitted(submitted: JobSubmitted, request: Request) -> None:
    """Say which job was submitted, with what the service has said of it."""
    logger = logger_here()
    logger.info(
        "Job %s of program %s submitted to %s (%s service).",
        submitted.id,
        request.program_id,
        submitted.backend,
        request.backend.service,
    )
    for message in submitted.messages:
        logger.warning("Job %s: %s", submitted.id, message.get("data"))


def tell_shared(job_id: str) -> None:
    """Say what cannot be told apart: occurrences are counted within a process."""
    logger_here().warning(
        "Job %s was there before: an equal call in another process of this flow run has"
        " submitted it, or its answer was lost. Equal calls share its result. Give them"
        " different seeds or inputs, or a durable_key each, if they are several"
        " evaluations.",
        job_id,
    )
