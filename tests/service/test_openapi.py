"""The service answers as its OpenAPI document says, whatever it is sent.

There are few examples here, and the same each time; `make fuzz` sends many that it chooses.
What is added to the document is tested without a change here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from tests.team import TOKENS, TeamService, running_team

from .conftest import program_body

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]
# Schemathesis draws with `random` here and there, of which hypothesis disapproves.
USES_RANDOM = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
HEADERS = {"Authorization": f"Bearer {TOKENS['alice']}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    with running_team(tmp_path_factory.mktemp("fuzzed") / "home", "--fault-mode") as service:
        yield service


@pytest.fixture(scope="module")
def document(served: TeamService) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


@pytest.fixture(scope="module")
def there(served: TeamService) -> dict[str, str]:
    """Names of things that are there, by what paths call them."""
    with served.client() as client:
        source = "def main(backend, user_messenger):\n    return 1\n"
        program_id = client.post("/programs", content=program_body(source)).json()["id"]
        job_id = client.post("/jobs", json={"program_id": program_id}).json()["id"]
        client.get(f"/jobs/{job_id}/stream")
        session_id = client.post("/sessions", json={}).json()["id"]
    return {
        "program_id": program_id,
        "job_id": job_id,
        "session_id": session_id,
        "name": "fake_manila",
        "version": "1",
    }


examples = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def send(case: schemathesis.Case, service: TeamService) -> None:
    case.call_and_validate(base_url=service.url, headers=HEADERS, checks=CHECKS)
    if case.path.startswith("/fault-mode/scenarios"):  # which would act on what comes next
        path = f"{service.url}/fault-mode/scenarios"
        httpx.delete(path, headers=HEADERS, trust_env=False).raise_for_status()


def try_operations(
    document: schemathesis.BaseSchema,
    service: TeamService,
    change: Callable[[schemathesis.Case], None] = lambda case: None,
) -> int:
    """Send examples of every operation of a document; return how many operations there were."""
    operations = [found.ok() for found in document.get_all_operations()]
    # Last, so that what is there is there for all others.
    operations.sort(key=lambda operation: operation.method.upper() == "DELETE")
    for operation in operations:

        @examples
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            change(case)
            send(case, service)

        check()
    return len(operations)


@USES_RANDOM
def test_it_answers_as_documented_whatever_it_is_sent(document, served) -> None:
    assert try_operations(document, served) > 45


@USES_RANDOM
def test_it_answers_as_documented_for_what_is_there(document, served, there) -> None:
    def change(case: schemathesis.Case) -> None:
        case.path_parameters = {**case.path_parameters, **there_of(case, there)}

    of_something = document.include(path_regex=r"\{(job_id|program_id|session_id|name)\}")
    assert try_operations(of_something, served, change) > 20


def there_of(case: schemathesis.Case, there: dict[str, str]) -> dict[str, str]:
    return {name: there[name] for name in case.path_parameters if name in there}


def test_every_route_says_what_it_answers_and_takes(served) -> None:
    document = httpx.get(f"{served.url}/openapi.json", trust_env=False).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers), (method, path)
            if method in ("post", "put", "patch"):
                reads_none = path.endswith(("/public", "/private", "/cancel", "/logout", "/search"))
                assert reads_none or "requestBody" in operation, (method, path)
