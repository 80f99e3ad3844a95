"""Messages as Discord's JSON tells them, and as the bridge holds them."""

from __future__ import annotations

from typing import Any

from spoolbridge.channels import Channel
from spoolbridge.incoming import IncomingMessage, from_discord

SECOND = 1000 << 22  # in snowflakes
START = 1573850500300800000  # 2026-11-22 00:00:00 UTC
GUILD = 1467106918538678200
VILLA = Channel("mayor-villa", 1467106918538678293, "villacalculatecost3", "mayor-villa")
STATUS = Channel("vi-status", 1467106918538678294, "villacalculatecost3", "vi-status")
NIC = {"id": "80351110224678912", "username": "nic_1", "global_name": "nic"}


def json_message(
    message_id: int = START, content: str = "how is the build?", **changes: Any
) -> dict[str, Any]:
    """A human's message, as GET channel messages gives it, with these fields changed."""
    message = {
        "id": str(message_id),
        "type": 0,
        "channel_id": str(VILLA.id),
        "content": content,
        "author": NIC,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "flags": 0,
        "timestamp": "2026-11-22T00:00:00.123000+00:00",
        "edited_timestamp": None,
    }
    return message | changes


def incoming(message_id: int = START, content: str = "how is the build?", **changes: Any) -> IncomingMessage:
    """The same, as the bridge holds it."""
    return from_discord(json_message(message_id, content, **changes), VILLA, GUILD)
