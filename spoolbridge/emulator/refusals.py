"""Discord's refusals: the HTTP status, Discord's own code and the JSON shape of each.

`RefusalError` is the one exception of the emulator's REST side. The codes are the ones of Discord's page on
opcodes and status codes; where Discord does not say which HTTP status goes with a code, the choice here
is a guess, and clients are told everywhere to look at the code.
"""

from __future__ import annotations

from typing import Any


class RefusalError(Exception):
    """An answer other than success; `body` is what the API shows."""

    def __init__(self, status: int, code: int, message: str, *, errors: dict[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.body: dict[str, Any] = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


def leaf(code: str, message: str) -> dict[str, Any]:
    """One entry at the end of a path in `errors`."""
    return {"_errors": [{"code": code, "message": message}]}


def invalid(path: str, code: str, message: str) -> RefusalError:
    """400/50035 with one leaf; `path` is dotted and may be empty for the whole request."""
    errors = leaf(code, message)
    for key in reversed([part for part in path.split(".") if part]):
        errors = {key: errors}
    return RefusalError(400, 50035, "Invalid Form Body", errors=errors)


def too_long(path: str, most: int) -> RefusalError:
    return invalid(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")


def not_snowflake(path: str, value: object) -> RefusalError:
    return invalid(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')


def unauthorized() -> RefusalError:
    return RefusalError(401, 0, "401: Unauthorized")


def not_found() -> RefusalError:
    return RefusalError(404, 0, "404: Not Found")


def method_not_allowed() -> RefusalError:
    return RefusalError(405, 0, "405: Method Not Allowed")


def bad_user_agent() -> RefusalError:
    return RefusalError(403, 40333, "internal network error")


def unknown_channel() -> RefusalError:
    return RefusalError(404, 10003, "Unknown Channel")


def unknown_guild() -> RefusalError:
    return RefusalError(404, 10004, "Unknown Guild")


def unknown_member() -> RefusalError:
    return RefusalError(404, 10007, "Unknown Member")


def unknown_message() -> RefusalError:
    return RefusalError(404, 10008, "Unknown Message")


def unknown_user() -> RefusalError:
    return RefusalError(404, 10013, "Unknown User")


def unknown_emoji() -> RefusalError:
    return RefusalError(404, 10014, "Unknown Emoji")


def too_many_channels() -> RefusalError:
    return RefusalError(400, 30013, "Maximum number of guild channels reached (500)")


def too_many_reactions() -> RefusalError:
    return RefusalError(400, 30010, "Maximum number of reactions reached (20)")


def too_many_files() -> RefusalError:
    return RefusalError(400, 30015, "Maximum number of attachments in a message reached (10)")


def too_large() -> RefusalError:
    return RefusalError(413, 40005, "Request entity too large")


def forum_parent() -> RefusalError:
    return RefusalError(400, 40058, "Cannot message this channel until a forum post is created in it")


def tag_required() -> RefusalError:
    return RefusalError(400, 40067, "A tag is required to create a forum post in this channel")


def missing_access() -> RefusalError:
    return RefusalError(403, 50001, "Missing Access")


def not_yours() -> RefusalError:
    return RefusalError(403, 50005, "Cannot edit a message authored by another user")


def empty_message() -> RefusalError:
    return RefusalError(400, 50006, "Cannot send an empty message")


def not_text() -> RefusalError:
    return RefusalError(400, 50008, "Cannot send messages in a non-text channel")


def missing_permissions() -> RefusalError:
    return RefusalError(403, 50013, "Missing Permissions")


def wrong_type() -> RefusalError:
    return RefusalError(400, 50024, "Cannot execute action on this channel type")


def system_message() -> RefusalError:
    return RefusalError(403, 50021, "Cannot execute action on a system message")


def thread_archived() -> RefusalError:
    return RefusalError(400, 50083, "Thread is archived")


def invalid_json() -> RefusalError:
    return RefusalError(400, 50109, "The request body contains invalid JSON.")


def invalid_version() -> RefusalError:
    return RefusalError(400, 50041, "Invalid API version provided")


def reply_needs_history() -> RefusalError:
    return RefusalError(403, 160002, "Cannot reply without permission to read message history")


def thread_exists() -> RefusalError:
    return RefusalError(400, 160004, "A thread has already been created for this message")


def thread_locked() -> RefusalError:
    return RefusalError(403, 160005, "Thread is locked")
