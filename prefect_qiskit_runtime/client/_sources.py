"""Read what a user gives as a program: a source and metadata, as paths, text or objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import ProgramMetadata

Source = str | bytes | Path
Metadata = ProgramMetadata | Mapping[str, Any] | str | Path | None


@dataclass(frozen=True)
class ProgramDraft:
    """A program that is ready to be uploaded."""

    source: str
    metadata: ProgramMetadata


def read_program(
    source: Source,
    metadata: Metadata = None,
    *,
    name: str | None = None,
    description: str | None = None,
    max_execution_time: int | None = None,
    spec: Mapping[str, Any] | None = None,
) -> ProgramDraft:
    """Read a program; what is given by keyword wins over the metadata.

    Args:
        source: Path of the Python file; or the source itself, as bytes or as text (which is
            told from a path by its line breaks, or a `def`).
        metadata: Path of a JSON file, a mapping, or `ProgramMetadata`.
        name: The program's name. Default: the metadata's, then the name of the file.
        description: What it does.
        max_execution_time: Wall-clock limit of its jobs, in seconds.
        spec: JSON schemas of parameters, return values and interim results.

    Raises:
        ConfigurationError: A file cannot be read, or there is no name.
        InvalidInputError: The metadata break a rule; `path` and `rule` say which and where.
    """
    fields = read_changes(
        metadata,
        name=name,
        description=description,
        max_execution_time=max_execution_time,
        spec=spec,
    )
    text = read_source(source)
    if "name" not in fields:
        if isinstance(source, bytes) or (isinstance(source, str) and not _is_path(source)):
            raise ConfigurationError(
                "A program needs a name: give name=, or metadata that have one."
            )
        fields["name"] = Path(source).stem
    return ProgramDraft(text, _checked(fields))


def read_changes(
    metadata: Metadata = None,
    *,
    name: str | None = None,
    description: str | None = None,
    max_execution_time: int | None = None,
    spec: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read metadata that may be incomplete; return the fields that are given, by our names.

    Raises:
        ConfigurationError: The file cannot be read, or is no JSON object.
        InvalidInputError: A field breaks a rule; `path` and `rule` say which and where.
    """
    fields = _fields(metadata)
    if "cost" in fields:  # IBM's older name
        fields.setdefault("max_execution_time", fields["cost"])
    keywords = {
        "name": name,
        "description": description,
        "max_execution_time": max_execution_time,
        "spec": spec,
    }
    fields.update((field, value) for field, value in keywords.items() if value is not None)
    given = {field: fields[field] for field in keywords if fields.get(field) is not None}
    checked = _checked({"name": "unnamed", **given})
    return checked.model_dump(include=set(given), exclude_none=True)


def read_source(source: Source) -> str:
    """Return the source text that is given, or that a path leads to.

    Raises:
        ConfigurationError: There is no such file, or it is not UTF-8 text.
    """
    if isinstance(source, str) and not _is_path(source):
        return source
    if isinstance(source, bytes):
        content, where = source, "The source"
    else:
        path = Path(source).expanduser()
        content, where = _read_file(path, "source"), f"The source {path}"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{where} is not UTF-8 text: {exc.reason}.") from exc


def _is_path(source: str) -> bool:
    return "\n" not in source and re.search(r"\bdef\s", source) is None


def _fields(metadata: Metadata) -> dict[str, Any]:
    if metadata is None:
        return {}
    if isinstance(metadata, ProgramMetadata):
        return metadata.model_dump(exclude_none=True)
    if isinstance(metadata, Mapping):
        return dict(metadata)
    path = Path(metadata).expanduser()
    content = _read_file(path, "metadata")
    try:
        fields = json.loads(content)
    except ValueError as exc:
        raise ConfigurationError(f"The metadata {path} are not JSON: {exc}.") from exc
    if not isinstance(fields, dict):
        raise ConfigurationError(f"The metadata {path} are JSON, but not an object.")
    return fields


def _read_file(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            f"Cannot read the {what} of the program from {path}: {exc.strerror}."
        ) from exc


def _checked(fields: Mapping[str, Any]) -> ProgramMetadata:
    try:
        return ProgramMetadata.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        path = "$" + "".join(f".{part}" for part in first["loc"])
        raise InvalidInputError(
            f"The metadata of the program break a rule at {path}: {first['msg']}.",
            path=path,
            rule=first["msg"],
        ) from exc
