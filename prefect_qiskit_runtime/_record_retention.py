"""Forgetting what Prefect's result storage keeps of jobs, once it is old.

Prefect deletes no results. On a file system of this machine they are deleted here; of other
storages the rule belongs to the bucket, on everything below `qiskit-runtime/`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from prefect.filesystems import LocalFileSystem

from prefect_qiskit_runtime._records import FOLDER, Records
from prefect_qiskit_runtime.errors import ConfigurationError

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
