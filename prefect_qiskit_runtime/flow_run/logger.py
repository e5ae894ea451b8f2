"""The logger for code that may run inside or outside a Prefect run."""

from __future__ import annotations

import logging
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

Logger = logging.Logger | logging.LoggerAdapter[Any]


def logger_here() -> Logger:
    """Return the run's logger inside a flow or task, and the package's logger elsewhere."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("prefect_qiskit_runtime")
