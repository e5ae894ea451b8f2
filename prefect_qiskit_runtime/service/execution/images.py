"""Images: the Python environments in which jobs can run, and their names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.service.execution.executor import Execution, Executor, JobLaunch

DEFAULT_IMAGE = "default"
"""Name of the environment that a team service runs in."""


class Images(Protocol):
    """The images in which a service runs jobs."""

    def choose(self, asked: str | None) -> str:
        """Return the name under which a job's image is stored.

        Raises:
            InvalidInputError: The service has no such image.
        """
        ...


class AnyInterpreter:
    """Every interpreter of this machine, by its path: for an embedded service's only user.

    Args:
        default: The image of jobs that name no image.
    """

    def __init__(self, default: str) -> None:
        self._default = default

    def choose(self, asked: str | None) -> str:
        """Return the requested image, in the form `python:<absolute path of an interpreter>`."""
        if not asked:
            return self._default
        kind, _, path = asked.partition(":")
        if kind != "python" or not Path(path).is_absolute():
            raise InvalidInputError(
                f"Image {asked!r} does not have the form python:<absolute path of an interpreter>.",
                path="$.runtime",
                rule="python:<absolute path>",
            )
        if not _is_interpreter(Path(path)):
            raise InvalidInputError(
                f"Image {asked!r}: there is no interpreter at that path.",
                path="$.runtime",
                rule="an executable file",
            )
        return asked


class RegisteredImages:
    """The interpreters that the service's operator has registered, by name.

    Users of a team service must not be able to start arbitrary executables on its machine, or
    learn its paths.

    Args:
        interpreters: Absolute paths by name; `DEFAULT_IMAGE` is for jobs that name no image.
    """

    def __init__(self, interpreters: Mapping[str, Path]) -> None:
        self._interpreters = dict(interpreters)

    def choose(self, asked: str | None) -> str:
        """Return the requested name if it is registered."""
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
        """Return an image with its path; for an image that is no longer registered, its name."""
        interpreter = self._interpreters.get(image)
        return image if interpreter is None else f"python:{interpreter}"


class NamedImages(Executor):
    """An executor for jobs whose images are names.

    Args:
        executor: The executor that runs the jobs.
        images: Maps the names to interpreters.
    """

    def __init__(self, executor: Executor, images: RegisteredImages) -> None:
        self._executor = executor
        self._images = images

    async def warm(self, image: str) -> None:
        """Load an image's libraries before its first job needs them."""
        await self._executor.warm(self._images.locate(image))

    async def launch(self, launch: JobLaunch) -> Execution:
        """Start a job."""
        return await self._executor.launch(replace(launch, image=self._images.locate(launch.image)))

    async def close(self) -> None:
        """End all jobs."""
        await self._executor.close()


def _is_interpreter(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
