"""Read a program from a user's arguments: source and metadata as paths, text or objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import ProgramMetadata, ProgramSpec

Source = str | bytes | Path
# Additional fields in published metadata: IBM's other name for max_execution_time, an unused
# version, and the parts of the spec from the time before there was a spec.
_OLDER_FIELDS = {"cost", "version", *ProgramSpec.model_fields}

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
    is_public: bool | None = None,
    parts: Mapping[str, Any] | None = None,
) -> ProgramDraft:
    """Read a program; keywords override the metadata.

    Args:
        source: Path of the Python file; or the source itself, as bytes or as text (which
            differs from a path by its line breaks, or a `def`).
        metadata: Path of a JSON file, a mapping, or `ProgramMetadata`. Default: the JSON file of
            the same name beside the source, if there is one.
        name: The program's name. Default: the metadata's, then the name of the file.
        description: Purpose of the program.
        max_execution_time: Wall-clock limit of its jobs, in seconds.
        spec: JSON schemas of parameters, return values and interim results.
        is_public: Whether other users may run it.
        parts: Parts of the spec by name, which override it; a schema may have IBM's oldest form,
            a list of `{"name", "description", "type", "required"}`.

    Raises:
        ConfigurationError: A file cannot be read, or the program has no name.
        InvalidInputError: The metadata breaks a rule; see `path` and `rule`.
    """
    fields = _translated(_fields(_beside(source) if metadata is None else metadata))
    keywords = {
        "name": name,
        "description": description,
        "max_execution_time": max_execution_time,
        "spec": spec,
        "is_public": is_public,
    }
    fields = _given({**fields, **_given(keywords)})
    if parts := _given(parts or {}):
        fields["spec"] = {**_as_dict(fields.get("spec")), **_schemas(parts)}
    text = read_source(source)
    if "name" not in fields:
        if isinstance(source, bytes) or (isinstance(source, str) and not _is_path(source)):
            raise ConfigurationError(
                "A program needs a name: give name=, or metadata that has one."
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
    """Read metadata that may be incomplete; return the given fields under our names.

    Raises:
        ConfigurationError: The file cannot be read, or is not a JSON object.
        InvalidInputError: A field breaks a rule; see `path` and `rule`.
    """
    fields = _translated(_fields(metadata))
    keywords = {
        "name": name,
        "description": description,
        "max_execution_time": max_execution_time,
        "spec": spec,
    }
    fields = {**fields, **_given(keywords)}
    given = _given({field: fields.get(field) for field in keywords})
    checked = _checked({"name": "unnamed", **given})
    return checked.model_dump(include=set(given), exclude_none=True)


def read_source(source: Source) -> str:
    """Return the given source text, or the content of the file at a path.

    Raises:
        ConfigurationError: The file does not exist, or is not UTF-8 text.
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


def _beside(source: Source) -> Path | None:
    if isinstance(source, bytes) or (isinstance(source, str) and not _is_path(source)):
        return None
    sibling = Path(source).expanduser().with_suffix(".json")
    return sibling if sibling.is_file() else None


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
        raise ConfigurationError(f"The metadata {path} is not JSON: {exc}.") from exc
    if not isinstance(fields, dict):
        raise ConfigurationError(f"The metadata {path} is JSON, but not an object.")
    return fields


def _translated(fields: dict[str, Any]) -> dict[str, Any]:
    """Return metadata under our names.

    Raises:
        InvalidInputError: A field is unknown. If it were ignored, a misspelt schema or limit
            would be lost.
    """
    unknown = sorted(set(fields) - set(ProgramMetadata.model_fields) - _OLDER_FIELDS)
    if unknown:
        raise InvalidInputError(
            f"Program metadata has no field {unknown[0]!r}. The fields are "
            f"{', '.join(ProgramMetadata.model_fields)}.",
            path=f"$.{unknown[0]}",
            rule="a known field",
        )
    older_spec = _schemas(
        {name: fields[name] for name in ProgramSpec.model_fields if name in fields}
    )
    if older_spec:
        fields = {**fields, "spec": {**older_spec, **_as_dict(fields.get("spec"))}}
    if fields.get("cost"):
        fields = {"max_execution_time": fields["cost"], **fields}
    return {name: value for name, value in fields.items() if name in ProgramMetadata.model_fields}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _as_dict(spec: Any) -> dict[str, Any]:
    if isinstance(spec, ProgramSpec):
        return spec.model_dump(exclude_none=True)
    if spec is not None and not isinstance(spec, Mapping):
        raise InvalidInputError(
            f"The program's spec must be an object with {', '.join(ProgramSpec.model_fields)}, "
            f"not {type(spec).__name__}.",
            path="$.spec",
            rule="an object",
        )
    return dict(spec or {})


def _schemas(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _schema(name, part) for name, part in parts.items() if part}


def _schema(name: str, part: Any) -> Any:
    """Return IBM's oldest form, a list of named descriptions, as a JSON schema.

    Its types are names of Python classes, which do not describe the encoded value.
    """
    if not isinstance(part, list):
        return part
    # IBM's oldest client used named tuples for them.
    items = [item._asdict() if hasattr(item, "_asdict") else item for item in part]
    for number, item in enumerate(items):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            raise InvalidInputError(
                f"Entry {number} of {name} has no name: in this form each entry is"
                ' {"name", "description", "type", "required"}.',
                path=f"$.{name}[{number}]",
                rule="an object with a name",
            )
    return {
        "type": "object",
        "properties": {
            item["name"]: {"description": f"{item.get('description', '')} ({item.get('type')})"}
            for item in items
        },
        "required": [item["name"] for item in items if item.get("required")],
    }


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
            f"The program's metadata breaks a rule at {path}: {first['msg']}.",
            path=path,
            rule=first["msg"],
        ) from exc
