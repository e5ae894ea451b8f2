"""Small records that survive a process, kept in Prefect's result storage.

Records are written immediately, never in a user's transaction, which is committed late and lost
with the process. With Prefect's default storage they are local to the machine, so they only provide
shortcuts and an order of preference: a job is found without them.
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
"""Folder of the records in the result storage."""


def _local_storage() -> WritableFileSystem | None:
    """Return the local result storage for use outside of runs; None if a server or block sets it.

    Otherwise Prefect would start a server for each call, only to ask it for the storage.
    """
    results = get_current_settings().results
    if PREFECT_API_URL.value() is not None or results.default_storage_block is not None:
        return None
    return LocalFileSystem(basepath=str(results.local_storage_path))


class Records:
    """The records of one call; created inside the call, since each run may have its own storage.

    Args:
        serializer: Writes and reads the records; JSON by default.
    """

    def __init__(self, serializer: Serializer[Any] | None = None) -> None:
        self._store: ResultStore = get_result_store().model_copy(
            update={
                "serializer": serializer or JSONSerializer(),
                "cache_result_in_memory": False,
                # A flow without persisted results discards the metadata, and so the record.
                "metadata_storage": None,
            }
        )
        if self._store.result_storage is None:
            self._store.result_storage = _local_storage()

    def storage(self) -> WritableFileSystem | None:
        """Return the storage of the records. Not for coroutines: this may call Prefect's API."""
        if self._store.result_storage is None:
            self._store.exists(FOLDER)
        return self._store.result_storage

    async def read(self, name: str) -> dict[str, Any] | None:
        """Return a record; None if none is readable.

        Prefect's file systems write in place: a process that is killed during a write leaves half a
        record behind. Data that must survive this is stored in a record that is written only once.
        """
        key = f"{FOLDER}/{name}"
        await self._find_storage(key)
        if not await self._store.aexists(key):
            return None
        try:
            return (await self._store.aread(key)).result
        except (ValueError, DecodingError):  # from JSON, text decoding, pydantic and the codec
            return None

    async def write(self, name: str, record: dict[str, Any]) -> None:
        """Write a record; it replaces an existing record of the same name."""
        key = f"{FOLDER}/{name}"
        await self._find_storage(key)
        await self._store.awrite(record, key=key)

    async def _find_storage(self, key: str) -> None:
        """Find the storage outside of runs, where it is unknown until it is first used.

        In a thread: Prefect asks its API for the storage, and leaves an asynchronous client open.
        """
        if self._store.result_storage is None:
            await asyncio.to_thread(self._store.exists, key)

    async def try_write(self, name: str, record: dict[str, Any]) -> None:
        """Write a record that is useful but not required; a failure of the storage is logged."""
        try:
            await self.write(name, record)
        except Exception:
            logger.warning(
                "A record could not be written to Prefect's result storage. If this flow crashes "
                "now, its callbacks may see interim results again.",
                exc_info=True,
            )


_DAY_SECONDS = 86_400.0
_PRIVATE_RESULTS = "result-*"


@dataclass(frozen=True)
class Forgotten:
    """The records that were deleted, or would be in a dry run.

    Attributes:
        folder: The folder of the records.
        records: Number of records.
        size_bytes: Their total size.
    """

    folder: Path
    records: int
    size_bytes: int


def forget_records(
    *, older_than_days: float, private_results: bool = False, dry_run: bool = False
) -> Forgotten:
    """Delete old records of jobs.

    Args:
        older_than_days: Delete records that were last written more than this many days ago.
        private_results: Also delete results of private jobs, of which there is no other copy.
        dry_run: Only count the records.

    Raises:
        ConfigurationError: The records are not in a file system of this machine.
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
            f"Prefect's results are in a {type(storage).__name__}, which cannot be listed from"
            f" here. Give its bucket a rule that deletes objects below {FOLDER}/ after a time."
        )
    return Path(storage.basepath or ".").expanduser() / FOLDER
