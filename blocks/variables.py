"""Read the environment variables that a block needs, and report which of them are missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

MISSING = 2
"""Exit code of a script whose variables are not set."""


class MissingVariablesError(Exception):
    """Variables that a block needs are not set, or empty."""


def read(required: dict[str, str]) -> list[str]:
    """Return the values of environment variables.

    Args:
        required: A description of each variable, by its name.

    Raises:
        MissingVariablesError: Names all that are missing.
    """
    missing = [f"  {name}  {what}" for name, what in required.items() if not os.environ.get(name)]
    if missing:
        raise MissingVariablesError("Set these environment variables:\n" + "\n".join(missing))
    return [os.environ[name] for name in required]


def run(save: Callable[[], list[str]]) -> None:
    """Save blocks and print their slugs; a missing variable ends the script without a traceback."""
    try:
        saved = save()
    except MissingVariablesError as missing:
        sys.exit(_fail(str(missing)))
    for block in saved:
        print(f"saved {block}")


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return MISSING
