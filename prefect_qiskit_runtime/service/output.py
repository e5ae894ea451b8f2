"""What a service process writes of itself: one line per event, to its standard error."""

from __future__ import annotations

import logging
import sys


def configure_logging() -> None:
    """Log what the service does, and only trouble of the libraries that it stands on."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
