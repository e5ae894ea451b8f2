"""Run the service: `python -m prefect_qiskit_runtime.service --embedded --home DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.service.http.server import configure_logging


def main(arguments: list[str] | None = None) -> int:
    """Run the service until it ends; return the exit code of the process."""
    options = _parse(arguments)
    configure_logging()
    from prefect_qiskit_runtime.service.embedded import EmbeddedOptions, run
    from prefect_qiskit_runtime.settings import Settings

    settings = Settings()
    embedded = EmbeddedOptions(
        root=options.home,
        image=options.warm_image,
        idle_seconds=options.idle_seconds or settings.idle_seconds,
    )
    try:
        run(embedded, settings)
    except QiskitRuntimeError as exc:
        logging.getLogger(__name__).error("%s", exc)  # noqa: TRY400 - no traceback needed
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prefect_qiskit_runtime.service", description="A Qiskit Runtime service."
    )
    parser.add_argument(
        "--embedded",
        action="store_true",
        required=True,
        help="serve this user on this machine, and stop when idle",
    )
    parser.add_argument("--home", type=Path, required=True, help="folder of the service")
    parser.add_argument(
        "--warm-image",
        default=f"python:{sys.executable}",
        help="Python environment to preload for the first job; also the jobs' default",
    )
    parser.add_argument(
        "--idle-seconds", type=float, help="stop after this time without use (default: settings)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
