"""Which hosts an account's fields mean; nothing is asked."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials
from prefect_qiskit_runtime.client import IbmAccount

US = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
EU = "crn:v1:bluemix:public:quantum-computing:eu-de:a/1:2::"


@pytest.mark.parametrize(
    ("fields", "api", "login"),
    [
        ({"instance": US}, "quantum.cloud.ibm.com", "iam.cloud.ibm.com"),
        ({"instance": EU}, "eu-de.quantum.cloud.ibm.com", "iam.cloud.ibm.com"),
        ({"region": "eu-de"}, "eu-de.quantum.cloud.ibm.com", "iam.cloud.ibm.com"),
        (
            {"instance": US, "private_endpoint": True},
            "private.us-east.quantum.cloud.ibm.com",  # as in qiskit-ibm-runtime
            "private.iam.cloud.ibm.com",
        ),
        (
            {"instance": EU, "private_endpoint": True},
            "private.eu-de.quantum.cloud.ibm.com",
            "private.iam.cloud.ibm.com",
        ),
    ],
)
def test_the_hosts_follow_from_the_fields_of_the_block(
    fields: dict[str, Any], api: str, login: str
) -> None:
    account = IBMQuantumCredentials.model_validate({"api_key": "key", **fields}).account()
    assert isinstance(account, IbmAccount)
    assert account.api_url(fields.get("instance")) == f"https://{api}/api/v1"
    assert account.iam_url == f"https://{login}"
