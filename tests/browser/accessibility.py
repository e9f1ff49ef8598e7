"""axe-core's rules (WCAG 2.2 A and AA, and its best practices) applied to the page that is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.browser.devtools import Page

AXE = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"


def find_violations(page: Page, *, without: tuple[str, ...] = ()) -> list[str]:
    """What axe objects to, a line for each element. It does not look at what the selectors `without` match."""
    if not AXE.is_file():
        reason = "needs axe-core (npm install in tests/)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    page.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    options = {"iframes": False, "resultTypes": ["violations"]}
    context = {"exclude": [[selector] for selector in without]} if without else {}
    script = f"axe.run({json.dumps(context) if context else 'document'}, {json.dumps(options)})"
    found = page.evaluate(f"{script}.then(result => JSON.stringify(result.violations))")
    return [
        f"{violation['id']}: {' '.join(node['target'])}: {node['failureSummary']}"
        for violation in json.loads(found)
        for node in violation["nodes"]
    ]
