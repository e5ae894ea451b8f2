"""Images: the Python environments in which jobs may ask to run, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.service.execution.executor import Execution, Executor, JobLaunch

DEFAULT_IMAGE = "default"
"""Name of a team service's own environment."""


class Images(Protocol):
    """Says which images a service runs jobs in."""

    def choose(self, asked: str | None) -> str:
        """Return the name under which a job's image is kept.

        Raises:
            InvalidInputError: The service has no such image.
        """
        ...


class AnyInterpreter:
    """Every interpreter of this machine, by its path: for the one user whose service it is.

    Args:
        default: The image of jobs that name none.
    """

    def __init__(self, default: str) -> None:
        self._default = default

    def choose(self, asked: str | None) -> str:
        """Return the image asked for, which is `python:<absolute path of an interpreter>`."""
        if not asked:
            return self._default
        kind, _, path = asked.partition(":")
        if kind != "python" or not Path(path).is_absolute():
            raise InvalidInputError(
                f"Image {asked!r} is not of the form python:<absolute path of an interpreter>.",
                path="$.runtime",
                rule="python:<absolute path>",
            )
        if not _is_interpreter(Path(path)):
            raise InvalidInputError(
                f"Image {asked!r}: there is no interpreter of that path.",
                path="$.runtime",
                rule="an executable file",
            )
        return asked


class RegisteredImages:
    """The interpreters that whoever runs the service has registered, by name.

    Users of a team service must not start what they like on its machine, nor learn its paths.

    Args:
        interpreters: Absolute paths by name; `DEFAULT_IMAGE` is the image of jobs that name none.
    """

    def __init__(self, interpreters: Mapping[str, Path]) -> None:
        self._interpreters = dict(interpreters)

    def choose(self, asked: str | None) -> str:
        """Return the name asked for, if it is registered."""
        if not asked:
            return DEFAULT_IMAGE
        if asked not in self._interpreters:
            names = ", ".join(sorted(self._interpreters))
            raise InvalidInputError(
                f"This service has no image {asked!r}. Its images are {names}.",
                path="$.runtime",
                rule=f"one of {names}",
            )
        return asked

    def locate(self, image: str) -> str:
        """Return where an image is; of one that is registered no more, its name."""
        interpreter = self._interpreters.get(image)
        return image if interpreter is None else f"python:{interpreter}"


class NamedImages(Executor):
    """An executor of jobs whose images are names.

    Args:
        executor: The one that runs them.
        images: Knows where an image is.
    """

    def __init__(self, executor: Executor, images: RegisteredImages) -> None:
        self._executor = executor
        self._images = images

    async def warm(self, image: str) -> None:
        """Load an image's libraries now, rather than with its first job."""
        await self._executor.warm(self._images.locate(image))

    async def launch(self, launch: JobLaunch) -> Execution:
        """Start a job."""
        return await self._executor.launch(replace(launch, image=self._images.locate(launch.image)))

    async def close(self) -> None:
        """End all jobs."""
        await self._executor.close()


def _is_interpreter(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
