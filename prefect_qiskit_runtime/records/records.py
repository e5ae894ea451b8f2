"""Small records that outlive a process, kept where Prefect keeps results.

They are written at once, never in a user's transaction, which is committed late and lost with
the process. With Prefect's default storage they are local to the machine: what depends on them is
a shortcut or an order of preference, never whether a job is found.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem, WritableFileSystem
from prefect.logging import get_logger
from prefect.results import ResultStore, get_result_store
from prefect.serializers import JSONSerializer, Serializer
from prefect.settings import PREFECT_API_URL, get_current_settings

from prefect_qiskit_runtime.errors import ConfigurationError, DecodingError

logger = get_logger("prefect_qiskit_runtime")

FOLDER = "qiskit-runtime"
"""Where they are in the result storage."""


def _local_storage() -> WritableFileSystem | None:
    """Return where results are kept outside of runs if nothing but this machine can have them.

    Prefect would start a server to ask it, one a call. None where there is one, or a default block.
    """
    results = get_current_settings().results
    if PREFECT_API_URL.value() is not None or results.default_storage_block is not None:
        return None
    return LocalFileSystem(basepath=str(results.local_storage_path))


class Records:
    """The records of one call; made inside of it, since each run may have its own storage.

    Args:
        serializer: How they are written.
    """

    def __init__(self, serializer: Serializer[Any] | None = None) -> None:
        self._store: ResultStore = get_result_store().model_copy(
            update={
                "serializer": serializer or JSONSerializer(),
                "cache_result_in_memory": False,
                # A flow whose results are not kept throws the metadata away, and so the record.
                "metadata_storage": None,
            }
        )
        if self._store.result_storage is None:
            self._store.result_storage = _local_storage()

    def storage(self) -> WritableFileSystem | None:
        """Return where they are kept. Not for coroutines: Prefect may be asked for it."""
        if self._store.result_storage is None:
            self._store.exists(FOLDER)
        return self._store.result_storage

    async def read(self, name: str) -> dict[str, Any] | None:
        """Return a record, None if there is none that can be read.

        Prefect's file systems write in place: a process that is killed meanwhile leaves half a
        record behind. What must not be lost with that stands in a record that is not written again.
        """
        key = f"{FOLDER}/{name}"
        await self._find_storage(key)
        if not await self._store.aexists(key):
            return None
        try:
            return (await self._store.aread(key)).result
        except (ValueError, DecodingError):  # of JSON, of text, of pydantic and of the codec
            return None

    async def write(self, name: str, record: dict[str, Any]) -> None:
        """Write a record in place of the one of that name."""
        key = f"{FOLDER}/{name}"
        await self._find_storage(key)
        await self._store.awrite(record, key=key)

    async def _find_storage(self, key: str) -> None:
        """Outside of runs the storage is not known before it is first used.

        In a thread: Prefect asks its API for it, and leaves an asynchronous client open.
        """
        if self._store.result_storage is None:
            await asyncio.to_thread(self._store.exists, key)

    async def try_write(self, name: str, record: dict[str, Any]) -> None:
        """Write a record that is good to have; a storage that fails is told in the log."""
        try:
            await self.write(name, record)
        except Exception:
            logger.warning(
                "Prefect's result storage does not keep a record. If this flow crashes now, its "
                "callbacks may see interim results again.",
                exc_info=True,
            )


_DAY_SECONDS = 86_400.0
_PRIVATE_RESULTS = "result-*"


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, or would be.

    Attributes:
        folder: Where it was.
        records: How many.
        size_bytes: How large they were.
    """

    folder: Path
    records: int
    size_bytes: int


def forget_records(
    *, older_than_days: float, private_results: bool = False, dry_run: bool = False
) -> Forgotten:
    """Delete the records of jobs that were last written long ago.

    Args:
        older_than_days: How long ago.
        private_results: Also results of private jobs, of which there is no other copy.
        dry_run: Only count them.

    Raises:
        ConfigurationError: They are not on a file system of this machine.
    """
    folder = _folder()
    horizon = time.time() - older_than_days * _DAY_SECONDS
    records = size_bytes = 0
    for path in folder.rglob("*"):
        if not path.is_file() or (path.match(_PRIVATE_RESULTS) and not private_results):
            continue
        status = path.stat()
        if status.st_mtime < horizon:
            records, size_bytes = records + 1, size_bytes + status.st_size
            if not dry_run:
                path.unlink(missing_ok=True)
    return Forgotten(folder, records, size_bytes)


def _folder() -> Path:
    storage = Records().storage()
    if not isinstance(storage, LocalFileSystem):
        raise ConfigurationError(
            f"Prefect's results are in a {type(storage).__name__}, which cannot be looked through"
            f" from here. Give its bucket a rule that deletes what is below {FOLDER}/ after a time."
        )
    return Path(storage.basepath or ".").expanduser() / FOLDER
