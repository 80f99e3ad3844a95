"""Whether a call's arguments are what its tool takes. Imported with the first call: a client waits for the
server's first answer, and a tenth of that would be the import of jsonschema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

from spoolbridge.mcp_server import schemas

_CHECKS = {tool.name: Draft202012Validator(tool.takes) for tool in schemas.TOOLS}


def wrong(tool: schemas.Tool, given: Mapping[str, Any]) -> str:
    """What is wrong with the arguments, in words; empty: nothing is."""
    error = best_match(_CHECKS[tool.name].iter_errors(given))
    return _fault(error, tool.takes["properties"]) if error else ""


def _fault(error: ValidationError, properties: Mapping[str, Any]) -> str:
    """What is wrong with the arguments, without repeating a value: it may be long."""
    name = str(error.path[0]) if error.path else ""
    if error.validator == "required":
        return f"{next(each for each in error.validator_value if each not in error.instance)} is missing"
    if error.validator == "additionalProperties":
        unknown = min(error.instance.keys() - properties.keys())
        return f"there is no argument {unknown[:40]!r}"
    if error.validator == "minLength":
        return f"{name} is empty"
    if error.validator == "maxLength":
        return f"{name} has more than {error.validator_value} characters"
    if error.validator == "pattern":
        return f"{name} is not an id, the number that Discord gives a message"
    if error.validator in ("minimum", "maximum", "maxItems"):
        return f"{name} goes beyond {error.validator_value}"
    wanted = {"string": "text", "integer": "a whole number", "boolean": "true or false", "array": "a list"}
    return f"{name} must be {wanted.get(str(error.validator_value), str(error.validator_value))}"
