"""Requests made out of `/docs.json`: what it promises is what is answered, whatever fits the description or not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from attack_tools import STATED, size
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_process import Served

pytestmark = [pytest.mark.attacks, pytest.mark.slow]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/docs.json")


def test_answers_are_as_the_description_says(schema: Any) -> None:
    """Clients are generated from it: a status or a shape that it does not know breaks them."""
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {"/classify", "/explain", "/corrections", "/info", "/card"} <= {one.path for one in operations}
    for operation in operations:
        ask(operation)


def ask(operation: Any) -> None:
    """Requests that fit the description of an operation, and such as do not."""
    modes = schemathesis.GenerationMode
    fitting, wrong = (operation.as_strategy(generation_mode=mode) for mode in (modes.POSITIVE, modes.NEGATIVE))

    @given(case=fitting | wrong)
    @settings(max_examples=size(20, 500), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        response = case.call(timeout=30)
        if response.status_code not in STATED:
            case.validate_response(response, checks=CHECKS)

    check()
