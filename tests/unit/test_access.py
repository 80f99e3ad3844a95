"""Access: the decision table, which rule a channel has, and roles that are looked up seldom."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from spoolbridge import access
from spoolbridge.access import (
    DOUBTED_FOR,
    MOST_MEMBERS,
    ROLES_FOR,
    Access,
    Rule,
    Verdict,
    rule_of,
    strangers,
    verdict,
)
from spoolbridge.channels import Channel
from spoolbridge.errors import RefusedError, UnreachableError
from spoolbridge.settings import AccessTable
from tests.support.clock import FakeClock

OWN, NIC, ADA, CI, HOOK, GUILD = 1, 11, 12, 13, 14, 41
CREW, OTHERS = 21, 22
VILLA = Channel("mayor-villa", 5, "villa", "mayor-villa")
DB = Channel("mayor-db", 6, None, "mayor-db")


def ids(*some: int) -> frozenset[int]:
    return frozenset(some)


def written(author: int = NIC, message_id: int = 100, **fields: Any) -> dict[str, Any]:
    """A message as Discord shows it; `bot` and `system` are its author's."""
    who = {key: fields.pop(key) for key in ("bot", "system") if key in fields}
    return {"id": str(message_id), "type": 0, "author": {"id": str(author), **who}, **fields}


ADMITTED, REFUSED = Verdict.ADMITTED, Verdict.REFUSED
PASSED_OVER, UNSURE = Verdict.PASSED_OVER, Verdict.UNSURE
NO_LISTS, NOBODY = Rule(), Rule(users=ids())
NIC_ONLY, CREW_ONLY, EITHER = Rule(ids(NIC)), Rule(roles=ids(CREW)), Rule(ids(NIC), ids(CREW))


@pytest.mark.parametrize(
    ("rule", "author", "roles", "expected"),
    [
        (NO_LISTS, NIC, None, ADMITTED),
        (NOBODY, NIC, None, REFUSED),
        (Rule(roles=ids()), NIC, ids(CREW), REFUSED),
        (Rule(ids(), ids()), NIC, ids(CREW), REFUSED),
        (NIC_ONLY, NIC, None, ADMITTED),
        (NIC_ONLY, ADA, None, REFUSED),
        (NIC_ONLY, ADA, ids(CREW), REFUSED),
        (CREW_ONLY, NIC, None, UNSURE),
        (CREW_ONLY, NIC, ids(), REFUSED),
        (CREW_ONLY, NIC, ids(OTHERS), REFUSED),
        (CREW_ONLY, NIC, ids(OTHERS, CREW), ADMITTED),
        (EITHER, NIC, None, ADMITTED),
        (EITHER, ADA, None, UNSURE),
        (EITHER, ADA, ids(CREW), ADMITTED),
        (Rule(ids(), ids(CREW)), ADA, ids(CREW), ADMITTED),
    ],
)
def test_people(rule: Rule, author: int, roles: frozenset[int] | None, expected: Verdict) -> None:
    """No list: everybody; an empty one: nobody; else who is on it, by id or by one of their roles."""
    assert expected is verdict(written(author), OWN, rule, roles)


@pytest.mark.parametrize("bots", [False, True, ids(CI), ids(HOOK), ids(NIC)])
@pytest.mark.parametrize(
    ("json", "sender"),
    [
        (written(CI, bot=True), CI),
        (written(CI, bot=True, type=20), CI),
        (written(NIC, webhook_id=str(HOOK)), HOOK),
        (written(NIC, bot=True, webhook_id=str(HOOK)), HOOK),
    ],
)
def test_bots(json: dict[str, Any], sender: int, bots: bool | frozenset[int]) -> None:
    """Only where they are wanted, all or these; a webhook is its own id and not whom it calls its author,
    and no list of people is about them."""
    wanted = bots is True or (bots is not False and sender in bots)
    for users in (None, ids(), ids(NIC)):
        assert (ADMITTED if wanted else PASSED_OVER) is verdict(json, OWN, Rule(users, bots=bots))


@pytest.mark.parametrize(
    "json",
    [
        written(OWN), written(OWN, bot=True), written(OWN, bot=True, type=20),
        written(NIC, bot=True, webhook_id=str(OWN), type=20), written(OWN, webhook_id=str(HOOK)),
        written(NIC, system=True), written(NIC, type=7), written(NIC, type=18), written(CI, bot=True, type=7),
        written(NIC, bot=True, system=True), {}, {"author": "nic"}, None, [], "nic",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rule", [NO_LISTS, NOBODY, Rule(bots=True), Rule(ids(OWN, NIC), bots=ids(OWN, CI))])
def test_what_never_reaches_an_agent(json: Any, rule: Rule) -> None:
    """Ours, an answer of our application, what the system says, and what is no message; nor is it counted."""
    assert PASSED_OVER is verdict(json, OWN, rule)


@pytest.mark.parametrize("webhook", ["x", "²", {"id": 1}, True])
def test_a_webhook_that_cannot_be_read_is_nobody(webhook: object) -> None:
    """The author beside it is still not to be believed."""
    assert PASSED_OVER is verdict(written(NIC, webhook_id=webhook), OWN, NIC_ONLY)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, NO_LISTS),
        ({"": AccessTable(ids(NIC))}, NIC_ONLY),
        ({"mayor-db": AccessTable(ids(NIC))}, NO_LISTS),
        ({"mayor-villa": AccessTable()}, NO_LISTS),
        ({"mayor-villa": AccessTable(bots=True), "": AccessTable(bots=False)}, Rule(bots=True)),
        ({"mayor-villa": AccessTable(bots=False), "": AccessTable(ids(NIC), bots=True)}, NIC_ONLY),
        ({"": AccessTable(ids(NIC)), "mayor-*": AccessTable(ids())}, NOBODY),
        ({"mayor-villa": AccessTable(ids(NIC)), "mayor-vill?": AccessTable(ids(ADA))}, NIC_ONLY),
        ({"villa.mayor-villa": AccessTable(ids(NIC)), "mayor-villa": AccessTable(ids(ADA))}, NIC_ONLY),
        ({"mayor-v*": AccessTable(ids(NIC)), "mayor-*": AccessTable(ids(ADA))}, NIC_ONLY),
        ({"mayor-*": AccessTable(ids(NIC)), "*": AccessTable(ids(ADA)), "": AccessTable(ids())}, NIC_ONLY),
        ({"villa.*": AccessTable(ids(NIC))}, NIC_ONLY),
        ({"": AccessTable(ids(NIC)), "mayor-villa": AccessTable(roles=ids(CREW))}, EITHER),
        ({"MAYOR-VILLA": AccessTable(ids())}, NO_LISTS),
    ],
)
def test_the_rule_of_a_channel(tables: dict[str, AccessTable], expected: Rule) -> None:
    """rig.channel before channel before the longest glob before all; each key counts whole."""
    assert expected == rule_of(tables, VILLA)


def test_a_name_that_two_rigs_have() -> None:
    """The plain name is about both, the rig's about one."""
    one, two = (Channel("mayor", number, rig, f"{rig}.mayor") for number, rig in ((1, "villa"), (2, "db")))
    tables = {"mayor": AccessTable(ids()), "db.mayor": AccessTable(ids(NIC))}
    assert (NOBODY, NIC_ONLY) == (rule_of(tables, one), rule_of(tables, two))


def test_tables_about_nothing() -> None:
    """Their names are wrong, or those channels are not read."""
    names = ("", "mayor-*", "villa.mayor-villa", "villa.mayor-db", "mayor-vila", "x*")
    tables = dict.fromkeys(names, AccessTable())
    wrong = ["[access.villa.mayor-db]", "[access.mayor-vila]", "[access.x*]"]
    assert wrong == strangers(tables, iter([VILLA, DB]))
    assert ["[access.villa.mayor-villa]", *wrong] == strangers(tables, [VILLA, DB], ["*-db"])


# -- at work -----------------------------------------------------------------------------------------------


class Members:
    """A guild that is asked for one member after another."""

    def __init__(self) -> None:
        self.roles: dict[int, list[str]] = {}
        self.error: Exception | None = None
        self.asked: list[int] = []

    async def __call__(self, user_id: int) -> dict[str, Any]:
        self.asked.append(user_id)
        if self.error:
            raise self.error
        return {"roles": self.roles.get(user_id, [])}


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def at_work(members: Members, clock: FakeClock, **tables: AccessTable) -> Access:
    named = {name.replace("_", "-") if name != "all" else "": table for name, table in tables.items()}
    return Access(OWN, named, member=members, guild_id=GUILD, clock=clock)


async def admitted(them: Access, *page: dict[str, Any], channel: Channel = VILLA) -> list[int]:
    return [int(each["id"]) for each in await them.admitted(channel, page)]


async def test_roles_are_asked_for_seldom(members: Members, clock: FakeClock) -> None:
    """Once in five minutes for who passes; who does not is asked about sooner, for a role may be new."""
    members.roles = {NIC: [str(CREW)], ADA: [str(OTHERS)]}
    them = at_work(members, clock, all=AccessTable(roles=ids(CREW)))
    page = [written(NIC, 100), written(ADA, 101), written(NIC, 102)]
    assert [100, 102] == await admitted(them, *page)
    assert [NIC, ADA] == members.asked
    clock.advance(DOUBTED_FOR - 1)
    await admitted(them, *page)
    assert [NIC, ADA] == members.asked
    members.roles[ADA] = [str(CREW)]
    clock.advance(1)
    assert [100, 101, 102] == await admitted(them, *page)
    assert [NIC, ADA, ADA] == members.asked
    members.roles = {}
    clock.advance(ROLES_FOR - DOUBTED_FOR)
    assert [101] == await admitted(them, *page)
    assert [NIC, ADA, ADA, NIC] == members.asked


async def test_nobody_is_asked_about_whose_roles_do_not_matter(members: Members, clock: FakeClock) -> None:
    """Listed users, bots, ours, and channels without a list of roles cost no request."""
    them = at_work(members, clock, mayor_villa=AccessTable(ids(NIC), ids(CREW)), mayor_db=AccessTable(ids()))
    await admitted(them, written(NIC), written(OWN), written(CI, bot=True), written(ADA, type=7))
    await admitted(them, written(ADA), channel=DB)
    assert [] == members.asked


@pytest.mark.parametrize("code", [10007, 10013])
async def test_who_has_left_is_refused(members: Members, clock: FakeClock, code: int) -> None:
    """Also from the role of everybody, which has the guild's id."""
    them = at_work(members, clock, all=AccessTable(roles=ids(GUILD)))
    assert [100] == await admitted(them, written(NIC))
    members.error = RefusedError("no such member", status=404, code=code)
    assert [] == await admitted(them, written(ADA, 101))
    assert {"mayor-villa": 1} == them.refused


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("Discord answered 503"),
        RefusedError("no such guild", status=404, code=10004),
        RefusedError("no access", status=403, code=50001),
    ],
)
async def test_who_cannot_be_looked_up_is_not_judged(
    members: Members, clock: FakeClock, error: Exception
) -> None:
    """Nothing of the page is counted either: it comes again."""
    members.error = error
    them = at_work(members, clock, all=AccessTable(ids(), ids(CREW)))
    with pytest.raises(type(error)):
        await them.admitted(VILLA, [written(NIC), written(ADA)])
    assert {} == them.refused
    members.error, members.roles = None, {NIC: [str(CREW)]}
    assert [100] == await admitted(them, written(NIC))


async def test_memory_is_bounded(members: Members, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has written last is remembered."""
    monkeypatch.setattr(access, "MOST_NOTED", 3)
    them = at_work(members, clock, all=AccessTable(roles=ids(CREW)))
    for number in range(MOST_MEMBERS + 2):
        await them.judge(VILLA, [written(1000 + number)])
    members.asked.clear()
    await them.judge(VILLA, [written(1000), written(1001 + MOST_MEMBERS)])
    assert [1000] == members.asked
    for number in range(10):
        await them.admitted(VILLA, [written(NIC, 100 + number)])
    assert (3, 10) == (len(them._noted), them.refused["mayor-villa"])


async def test_what_is_refused_is_counted_once_and_told_once(
    members: Members, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A page comes again in the overlap; the log has each author once a channel, by id."""
    caplog.set_level(logging.INFO)
    them = at_work(members, clock, all=AccessTable(ids(NIC)))
    page = [written(ADA, 100), written(ADA, 101), written(NIC, 102), written(CI, 103, bot=True)]
    for _ in range(2):
        assert [102] == await admitted(them, *page)
    await admitted(them, written(ADA, 104), channel=DB)
    assert {"mayor-villa": 2, "mayor-db": 1} == them.refused
    sentence = f"what user {ADA} writes is refused by [access]"
    said = [f"mayor-villa: {sentence}", f"mayor-db: {sentence}"]
    assert said == [record.message for record in caplog.records]
