from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def test_it_is_json_schema_with_the_contracts_keys(command: Callable[..., Any]) -> None:
    ended = command("schema")
    assert ended.code == 0
    schema = json.loads(ended.out)
    assert "$schema" in schema
    assert {"campaign", "from", "subject", "template", "recipients", "server", "delivery"} <= schema[
        "properties"
    ].keys()
