"""Discord's permission arithmetic, case by case as its documentation orders them."""

from __future__ import annotations

from typing import Any

import pytest

from spoolbridge.discord import permissions as p

GUILD, WORKERS, MUTED, BOT, OTHER = 100, 201, 202, 900, 901
PLAIN = p.VIEW_CHANNEL | p.SEND_MESSAGES | p.READ_MESSAGE_HISTORY


def role(identity: int, bits: int) -> dict[str, Any]:
    return {"id": str(identity), "permissions": str(bits)}


def overwrite(identity: int, *, kind: int = 0, allow: int = 0, deny: int = 0) -> dict[str, Any]:
    return {"id": str(identity), "type": kind, "allow": str(allow), "deny": str(deny)}


def bits(
    *overwrites: dict[str, Any],
    everyone: int = PLAIN,
    workers: int = 0,
    roles: tuple[int, ...] = (WORKERS, MUTED),
    **options: Any,
) -> int:
    others = [role(MUTED, 0), role(333, p.MANAGE_MESSAGES)]
    guild_roles = [role(GUILD, everyone), role(WORKERS, workers), *others]
    return p.channel_permissions(GUILD, roles, guild_roles, overwrites, BOT, **options)


def test_everyone_has_the_role_with_the_guilds_id() -> None:
    """A member without roles has what @everyone has."""
    assert PLAIN == bits(roles=())


def test_roles_add_up() -> None:
    """What any of a member's roles grants is granted; other roles do not matter."""
    assert PLAIN | p.ADD_REACTIONS == bits(workers=p.ADD_REACTIONS)


def test_an_administrator_may_everything() -> None:
    """No overwrite takes anything from an administrator."""
    assert p.ALL == bits(overwrite(GUILD, deny=PLAIN), workers=p.ADMINISTRATOR)


def test_the_owner_may_everything() -> None:
    """Nor from the owner, who needs no role."""
    assert p.ALL == bits(overwrite(GUILD, deny=PLAIN), roles=(), owner_id=BOT)


def test_somebody_elses_ownership_changes_nothing() -> None:
    """Only the owner is the owner."""
    assert PLAIN == bits(owner_id=OTHER)


def test_a_role_outweighs_everyone() -> None:
    """The channel is closed to all and opened to one role."""
    opened = bits(overwrite(WORKERS, allow=p.VIEW_CHANNEL), overwrite(GUILD, deny=p.VIEW_CHANNEL))
    assert PLAIN == opened


def test_one_role_that_allows_outweighs_one_that_denies() -> None:
    """Among roles the order does not matter: denials first, then grants."""
    both = (overwrite(WORKERS, allow=p.SEND_MESSAGES), overwrite(MUTED, deny=p.SEND_MESSAGES))
    assert (PLAIN, PLAIN) == (bits(*both), bits(*reversed(both)))


def test_the_members_own_overwrite_comes_last() -> None:
    """What is denied to the member is denied, whatever its roles allow."""
    denied = bits(overwrite(BOT, kind=1, deny=p.SEND_MESSAGES), overwrite(WORKERS, allow=p.SEND_MESSAGES))
    assert PLAIN & ~p.SEND_MESSAGES == denied


def test_the_members_own_overwrite_allows() -> None:
    """And what is allowed to it is allowed."""
    own = overwrite(BOT, kind=1, allow=p.SEND_MESSAGES)
    assert PLAIN == bits(overwrite(MUTED, deny=p.SEND_MESSAGES), own)


def test_overwrites_for_others_do_not_matter() -> None:
    """Other members' and other roles' overwrites are none of the bot's."""
    assert PLAIN == bits(overwrite(OTHER, kind=1, deny=PLAIN), overwrite(333, deny=PLAIN))


def test_a_user_is_not_a_role_of_the_same_id() -> None:
    """The kind of an overwrite is looked at, not only its id."""
    assert PLAIN == bits(overwrite(BOT, kind=0, deny=PLAIN), overwrite(WORKERS, kind=1, deny=PLAIN))


def test_nothing_can_be_done_in_a_channel_that_is_not_seen() -> None:
    """Without View Channel every other right there is empty."""
    assert 0 == bits(overwrite(GUILD, deny=p.VIEW_CHANNEL))


def test_nothing_can_be_attached_where_nothing_can_be_written() -> None:
    """Files, links and mentions need a message to be in."""
    generous = PLAIN | p.ATTACH_FILES | p.MENTION_EVERYONE
    silent = bits(overwrite(GUILD, deny=p.SEND_MESSAGES), everyone=generous)
    assert PLAIN & ~p.SEND_MESSAGES == silent


def test_in_a_thread_another_right_writes() -> None:
    """Send Messages in Threads counts there, and Send Messages does not."""
    everyone = p.VIEW_CHANNEL | p.SEND_MESSAGES_IN_THREADS | p.ATTACH_FILES
    only_there = (bits(everyone=everyone, thread=True), bits(everyone=everyone))
    assert (everyone, everyone & ~p.ATTACH_FILES) == only_there


def test_a_time_out_leaves_looking_and_reading() -> None:
    """A member in a time-out may not write."""
    assert p.VIEW_CHANNEL | p.READ_MESSAGE_HISTORY == bits(everyone=PLAIN | p.ADD_REACTIONS, timed_out=True)


def test_the_invitation() -> None:
    """The rights of a bridge are the integer that an invitation carries."""
    assert 309237763136 == p.BRIDGE


@pytest.mark.parametrize(
    ("granted", "needed", "names"),
    [
        (PLAIN, p.TO_SEND, ()),
        (p.VIEW_CHANNEL, p.TO_POLL | p.SEND_MESSAGES, ("Send Messages", "Read Message History")),
        (0, 1 << 51 | p.VIEW_CHANNEL, ("View Channel", f"permission {1 << 51}")),
        (p.ALL, p.BRIDGE, ()),
    ],
)
def test_what_is_missing_is_named(granted: int, needed: int, names: tuple[str, ...]) -> None:
    """The names are those of Discord's own settings; a bit without one still shows."""
    assert names == p.missing(granted, needed)
