"""Values of a request as the types that Discord expects, or the refusal it answers. Pure."""

from __future__ import annotations

from typing import Any

from spoolbridge.emulator.refusals import invalid, not_snowflake


def integer(path: str, value: Any) -> int:
    """A whole number. Raises RefusalError 50035."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 20:
        return int(value)
    raise invalid(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')


def snowflake(path: str, value: Any) -> int:
    """An id, as text or as a number. Raises RefusalError 50035."""
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise not_snowflake(path, value)
    if int(text) >= 2**64:
        raise not_snowflake(path, value)
    return int(text)


def boolean(path: str, value: Any) -> bool:
    """True or false; null is false. Raises RefusalError 50035."""
    if value is not None and not isinstance(value, bool):
        raise invalid(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return bool(value)


def text(path: str, value: Any) -> str:
    """A string; null is empty. Raises RefusalError 50035."""
    if value is None:
        return ""
    if isinstance(value, (bool, list, dict)):
        raise invalid(path, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
    return str(value)


def mapping(path: str, value: Any) -> dict[str, Any]:
    """An object. Raises RefusalError 50035."""
    if not isinstance(value, dict):
        raise invalid(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
    return value


def listed(path: str, value: Any) -> list[Any]:
    """A list; null is empty. Raises RefusalError 50035."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    return value
