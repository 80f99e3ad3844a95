"""Whom a message mentions: what its text names, narrowed by `allowed_mentions`.

Pure. Discord's rule for bots: without `allowed_mentions` everything in the text counts; with it, only
what it lists; ids that the text does not hold are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from spoolbridge.emulator import coerce
from spoolbridge.emulator.refusals import invalid, too_long

USER = re.compile(r"<@!?(\d{15,20})>")
ROLE = re.compile(r"<@&(\d{15,20})>")
EVERYONE = re.compile(r"@(?:everyone|here)\b")
TYPES = ("users", "roles", "everyone")
MAX_IDS = 100  # ids in each of `users` and `roles`


@dataclass(frozen=True)
class Mentions:
    """The ids that a message pings."""

    users: tuple[int, ...] = ()
    roles: tuple[int, ...] = ()
    everyone: bool = False


def everything(content: str, *, users: Container[int], roles: Container[int]) -> Mentions:
    """All that the text names and the guild holds (`users`, `roles`)."""
    named_users = dict.fromkeys(int(found) for found in USER.findall(content))
    named_roles = dict.fromkeys(int(found) for found in ROLE.findall(content))
    return Mentions(
        users=tuple(user for user in named_users if user in users),
        roles=tuple(role for role in named_roles if role in roles),
        everyone=EVERYONE.search(content) is not None,
    )


def allowed(found: Mentions, rule: Mapping[str, Any] | None) -> Mentions:
    """`found`, narrowed by a checked `allowed_mentions`; None allows everything."""
    if rule is None:
        return found
    parse = set(rule.get("parse") or ())
    users = {int(user) for user in rule.get("users") or ()}
    roles = {int(role) for role in rule.get("roles") or ()}
    return Mentions(
        users=tuple(user for user in found.users if "users" in parse or user in users),
        roles=tuple(role for role in found.roles if "roles" in parse or role in roles),
        everyone=found.everyone and "everyone" in parse,
    )


def check(rule: Any) -> Mapping[str, Any] | None:
    """The `allowed_mentions` of a request. Raises RefusalError 50035 where Discord refuses it."""
    if rule is None:
        return None
    said = coerce.mapping("allowed_mentions", rule)
    coerce.boolean("allowed_mentions.replied_user", said.get("replied_user"))
    parse = coerce.listed("allowed_mentions.parse", said.get("parse"))
    for index, kind in enumerate(parse):
        if kind not in TYPES:
            message = "Value must be one of {'everyone', 'roles', 'users'}."
            raise invalid(f"allowed_mentions.parse.{index}", "BASE_TYPE_CHOICES", message)
    for kind in ("users", "roles"):
        _check_ids(kind, coerce.listed(f"allowed_mentions.{kind}", said.get(kind)), also=kind in parse)
    return said


def _check_ids(kind: str, ids: list[Any], *, also: bool) -> None:
    path = f"allowed_mentions.{kind}"
    if also and ids:
        message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
        raise invalid("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)
    if len(ids) > MAX_IDS:
        raise too_long(path, MAX_IDS)
    for index, value in enumerate(ids):
        coerce.snowflake(f"{path}.{index}", value)
