"""The reference of the fault mode describes every scenario as its model does.

Run this file to write the tables again.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from prefect_qiskit_runtime.service.faults import scenarios
from prefect_qiskit_runtime.service.faults.ibm import (
    HIGHEST_MAX_EXECUTION_SECONDS,
    LONGEST_TAG,
    MOST_TAGS,
)
from prefect_qiskit_runtime.service.faults.scenarios import JobMatch, RequestMatch, Scenario

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fault-mode.md"
TABLES = re.compile(r"(?<=<!-- scenarios -->\n).*(?=<!-- end -->)", re.DOTALL)


def section(title: str, model: type[BaseModel]) -> str:
    rows = ["| Field | Default | Meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if name == "fault":
            continue
        rows.append(f"| `{name}` | {default_of(field.default)} | {meaning_of(name, field)} |")
    text = textwrap.dedent(f"    {model.__doc__ or ''}").strip()
    table = "\n".join(rows) if len(rows) > 2 else "It has no fields."
    return f"### {title}\n\n{text}\n\n{table}\n"


def default_of(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return "the next one"
    return f"`{json.dumps(default)}`"


def meaning_of(name: str, field: Any) -> str:
    if name == "when":
        kind = "requests" if field.annotation is RequestMatch else "jobs"
        return f"[Which {kind}](#which-{kind})."
    if field.description:
        return field.description
    described = [d for d in field.metadata if getattr(d, "description", None)]
    return described[-1].description if described else "Only for this user."


def tables() -> str:
    kinds = get_args(get_args(Scenario)[0])
    parts = [section("Which requests", RequestMatch), section("Which jobs", JobMatch)]
    for kind in kinds:
        name = get_args(kind.model_fields["fault"].annotation)[0]
        parts.append(section(f"`{name}`", kind))
    return "\n" + "\n".join(parts) + "\n"


def test_every_scenario_is_documented_with_all_of_its_fields() -> None:
    (written,) = TABLES.findall(PAGE.read_text())
    assert written == tables()


def test_every_kind_of_scenario_can_be_sent() -> None:
    kinds = get_args(get_args(Scenario)[0])
    models = {
        model
        for model in vars(scenarios).values()
        if isinstance(model, type) and "fault" in getattr(model, "model_fields", {})
    }
    assert models == set(kinds)


@pytest.mark.parametrize("number", [MOST_TAGS, LONGEST_TAG, HIGHEST_MAX_EXECUTION_SECONDS])
def test_the_rules_of_the_imitation_are_documented(number: int) -> None:
    assert f"{number:,}" in PAGE.read_text().partition("## Effects of `--as ibm`")[2]


if __name__ == "__main__":
    PAGE.write_text(TABLES.sub(lambda _: tables(), PAGE.read_text()))
