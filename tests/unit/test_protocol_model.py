"""Every way in which an outbound message's life can go, tried one by one.

The real Posting, read-back and journal (its memory and its records, not its file) run against an
imaginary disk, an imaginary Discord and a nature that may at every step kill the process, cut the
power, lose an answer or let time pass, within a budget. All choices are tried, states seen before are
not tried again, and at the end of each the promise is held against what lies on Discord. Then each
safeguard is taken away in turn, and the same search must find what it was there for.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from unittest.mock import patch

import pytest

from spoolbridge import identity, journal, outgoing, posting, readback, tries
from spoolbridge.claim import Claim
from spoolbridge.discord import permissions
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import UnreachableError
from spoolbridge.journal import Journal
from spoolbridge.outcome import NotSent, Outcome, Refused, Sent, Unknown
from spoolbridge.posting import Posting
from spoolbridge.readback import Absent, Bot, snowflake
from spoolbridge.turns import Turns

_T = TypeVar("_T")

BEGIN = 1_795_000_000.0  # seconds since 1970
WRITTEN = datetime.fromtimestamp(BEGIN, UTC).strftime("%Y%m%dT%H%M%S")
REMEMBERS = 180.0  # seconds for which this Discord knows a nonce: a little more than the bridge counts on
LONG = 200.0  # seconds: longer than that, not yet late
ALONE = 700.0  # seconds: longer than one message may fail alone
#: What becomes of a post: not even sent; never arrived; carried out, but the answer is lost; refused for
#: good; carried out while the service is being stopped.
POST_FAULTS = ("refused", "lost before", "lost after", "rejected", "stopped after")
BOT = Bot(id=7, guild_id=1)
CHANNEL = 2
SHORT = outgoing.OutgoingMessage("deployed")
IN_TWO = outgoing.OutgoingMessage("a" * 1500 + "\n\n" + "a" * 1500)


class EndOfLife(BaseException):
    """The process is gone; whether the machine went with it has been chosen."""


@dataclass(frozen=True)
class Budget:
    """How much trouble nature may make in one life story."""

    crashes: int = 2
    faults: int = 2
    waits: int = 2
    total: int = 3
    #: How often an operator moves a failed entry back.
    retries: int = 1

    def spent(self, kind: str) -> Budget:
        return replace(self, **{kind: getattr(self, kind) - 1}, total=self.total - 1)

    def has(self, kind: str) -> bool:
        return self.total > 0 and getattr(self, kind) > 0


@dataclass(frozen=True)
class Entry:
    """One dropped file: where the process sees it, and where a power cut would leave it."""

    place: str = "outgoing"
    durable: str = "outgoing"
    entry_id: str = ""  # a plain name has none until it is claimed
    durable_id: str = ""
    claimed: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Message:
    """One message on Discord."""

    id: int
    entry: int
    content: str
    nonce: str
    at: float


@dataclass
class World:
    """Disk, Discord, clock and nature."""

    budget: Budget
    entries: list[Entry]
    text: outgoing.OutgoingMessage
    may_read: bool
    removed: str = ""
    now: float = BEGIN
    lines: list[bytes] = field(default_factory=list)
    durable_lines: int = 0
    messages: list[Message] = field(default_factory=list)
    minted: int = 0
    #: Which entry is on its way.
    current: int = 0
    #: The answers that nature is to give, and how many it had to choose from each time.
    choices: tuple[int, ...] = ()
    taken: list[tuple[int, int]] = field(default_factory=list)

    def again(self, choices: tuple[int, ...]) -> World:
        """The same world, to go on with these choices."""
        lines, messages, entries = list(self.lines), list(self.messages), list(self.entries)
        return replace(self, lines=lines, messages=messages, entries=entries, choices=choices, taken=[])

    def clock(self) -> float:
        return self.now

    def choose(self, *options: _T) -> _T:
        index = self.choices[len(self.taken)] if len(self.taken) < len(self.choices) else 0
        self.taken.append((index, len(options)))
        return options[index]

    def trouble(self, kind: str, *options: str) -> str:
        """What goes wrong here, if anything (`""`)."""
        if not self.budget.has(kind):
            return ""
        found = self.choose("", *options)
        if found:
            self.budget = self.budget.spent(kind)
        return found

    # -- the disk --------------------------------------------------------------------------------------

    def step(self) -> None:
        """Between any two acts the process may die."""
        how = self.trouble("crashes", "kill", "power cut")
        if how == "power cut":
            kept = self.choose(*range(len(self.lines), self.durable_lines - 1, -1))
            self.lines = self.lines[:kept]
            self.entries = [self._after_a_power_cut(entry) for entry in self.entries]
        if how:
            raise EndOfLife

    def _after_a_power_cut(self, entry: Entry) -> Entry:
        if entry.place != entry.durable and self.choose(True, False):
            return replace(entry, place=entry.durable, entry_id=entry.durable_id, why="")
        return replace(entry, durable=entry.place, durable_id=entry.entry_id)

    def append(self, line: bytes, *, durable: bool = True) -> None:
        """What the journal writes: `atomic.append` on this disk."""
        self.step()
        self.lines.append(line)
        self.step()
        if durable and not (self.removed == "sync of the try" and b'"kind":"try"' in line):
            self.durable_lines = len(self.lines)
            self.step()

    def move(self, place: str, *, synced: bool = True, **more: Any) -> None:
        """One rename, then the syncs."""
        self.entries[self.current] = replace(self.entries[self.current], place=place, **more)
        self.step()
        if synced:
            self.sync()

    def sync(self) -> None:
        """Both directories."""
        entry = self.entries[self.current]
        self.entries[self.current] = replace(entry, durable=entry.place, durable_id=entry.entry_id)
        self.step()

    # -- Discord ---------------------------------------------------------------------------------------

    def create(self, payload: dict[str, Any]) -> Message:
        """As Create Message with `enforce_nonce`: the earlier message where the nonce is remembered."""
        for message in self.messages:
            known = message.nonce == payload["nonce"] and self.now - message.at < REMEMBERS
            if known and self.removed != "nonce":
                return message
        content = payload["content"].strip()
        message_id = snowflake(self.now) + len(self.messages)
        made = Message(message_id, self.current, content, payload["nonce"], self.now)
        self.messages.append(made)
        return made

    def shown(self, message: Message) -> dict[str, Any]:
        """As the channel's history shows it: no nonce."""
        author = {"id": str(BOT.id)}
        return {"id": str(message.id), "author": author, "content": message.content, "attachments": []}

    # -- what is compared ------------------------------------------------------------------------------

    @property
    def unsettled(self) -> int | None:
        """The first entry that is on its way."""
        places = [entry.place in ("outgoing", "sending") for entry in self.entries]
        return places.index(True) if any(places) else None

    def key(self) -> Any:
        """Equal for worlds in which the same things can still happen."""
        return (
            tuple(self.entries), tuple(self.lines), self.durable_lines, tuple(self.messages),
            round(self.now - BEGIN, 3), self.budget, self.minted,
        )  # fmt: skip


class Client:
    """The client's side of the imaginary Discord: each request may meet a fault."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def time(self) -> float:
        """Discord's, by which ours is neither ahead nor behind."""
        return self._world.now

    async def post(
        self, channel_id: int, payload: dict[str, Any], *, files: Any, retrying: bool,
        before: Callable[[], Awaitable[None]],
    ) -> Outcome:  # fmt: skip
        await before()
        self._world.step()
        fault = self._world.trouble("faults", *POST_FAULTS)
        if fault == "refused":
            return NotSent("no connection")
        if fault == "rejected":
            return Refused("blocked", 200000, 400)
        if fault == "lost before":
            return Unknown("no answer")
        made = self._world.create(payload)
        if fault == "stopped after":
            raise asyncio.CancelledError
        self._world.step()
        return Unknown("no answer") if fault else Sent(made.id)

    async def messages_since(self, channel_id: int, after: int) -> AsyncIterator[list[dict[str, Any]]]:
        if self._world.trouble("faults", "unreachable"):
            raise UnreachableError("no answer")
        found = [each for each in self._world.messages if each.id > after]
        if found and self._world.may_read:
            yield [self._world.shown(each) for each in found]

    async def channel(self, channel_id: int) -> dict[str, Any]:
        return {"guild_id": str(BOT.guild_id), "permission_overwrites": []}

    async def member(self, guild_id: int, user_id: int) -> dict[str, Any]:
        return {"roles": []}

    async def roles(self, guild_id: int) -> list[dict[str, Any]]:
        granted = permissions.TO_POLL if self._world.may_read else 0
        return [{"id": str(BOT.guild_id), "permissions": str(granted)}]

    async def me(self) -> dict[str, Any]:
        return {}


def live(world: World) -> None:
    """The service takes up the first entry that is not settled and carries it as far as it gets.

    That is a process's whole life, or the next piece of it: the journal's memory is what its records say,
    so it makes no difference whether it was there all the time or has just been read.
    """
    memory = Journal(cast(int, world), clock=world.clock)

    async def sleep(seconds: float) -> None:
        longer = world.trouble("waits", "long", "very long")
        world.now += {"": seconds, "long": LONG, "very long": ALONE}[longer]

    client = cast(DiscordClient, Client(world))
    poster = Posting(memory, client, BOT, clock=world.clock, sleep=sleep, jitter=lambda: 1.0)
    try:
        _carry(world, poster)
    except (EndOfLife, asyncio.CancelledError):
        world.now += world.choose(0.0, LONG)
    else:
        _perhaps_retry(world)


def _carry(world: World, poster: Posting) -> None:
    assert world.unsettled is not None
    world.current = world.unsettled
    entry = world.entries[world.current]
    if entry.place == "outgoing":
        world.minted += not entry.entry_id
        found = entry.entry_id or f"{WRITTEN}.{world.minted:06}Z-k3f9q2x7"
        synced = world.removed != "sync of the claim"
        world.move("sending", synced=synced, entry_id=found, claimed=world.now)
    elif world.removed != "sync at the start":
        world.sync()
    entry = world.entries[world.current]
    claim = SimpleNamespace(
        id=entry.entry_id, channel="general", written=BEGIN, claimed=entry.claimed, exists=lambda: True
    )
    outcome = _result(poster.post(cast(Claim, claim), CHANNEL, world.text))
    if isinstance(outcome, Sent):
        world.move("sent")
    else:
        assert isinstance(outcome, Refused)
        world.move("failed", why=outcome.reason)


def _perhaps_retry(world: World) -> None:
    """The operator's `mv failed/… outgoing/…`, durable before anything else happens."""
    if world.entries[world.current].place == "failed" and world.budget.retries:
        how = world.choose("leave", "retry", "retry later")
        if how != "leave":
            world.budget = replace(world.budget, retries=world.budget.retries - 1)
            world.now += LONG if how == "retry later" else 0.0
            moved = replace(world.entries[world.current], place="outgoing", durable="outgoing", why="")
            world.entries[world.current] = moved


def _result(flow: Coroutine[Any, Any, _T]) -> _T:
    """Nothing in this world is waited for, so a coroutine ends at its first step."""
    try:
        flow.send(None)
    except StopIteration as ended:
        return cast(_T, ended.value)
    flow.close()
    raise AssertionError("something waited for the real world")


def tell(world: World) -> list[str]:
    """What is wrong at the end of a story."""
    meant = Counter(part.content.strip() for part in outgoing.compose(world.text))
    found = []
    for number, entry in enumerate(world.entries):
        there = Counter(_without_stamp(each.content) for each in world.messages if each.entry == number)
        if there - meant:
            found.append("repeated")
        if entry.place == "sent" and meant - there:
            found.append("lost")
        if "it is not on Discord" in entry.why and there:
            found.append("told wrongly")
    return found


def _without_stamp(content: str) -> str:
    """The text alone: what is posted late begins with a line that says so."""
    first, _, rest = content.partition("\n")
    return rest if first.startswith("(written ") else content


@dataclass
class Findings:
    """What a search came upon."""

    worlds: int = 0
    lives: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


def explore(
    budget: Budget, *, entries: int = 1, text: outgoing.OutgoingMessage = SHORT, may_read: bool = True,
    removed: str = "",
) -> Findings:  # fmt: skip
    """Every story within the budget."""
    findings = Findings()
    first = World(budget, [Entry()] * entries, text, may_read, removed)
    seen, todo = {first.key()}, [first]
    with _without(removed):
        while todo:
            for after in futures(todo.pop()):
                findings.lives += 1
                if after.key() in seen:
                    continue
                seen.add(after.key())
                if after.unsettled is None:
                    findings.endings[" ".join(entry.place for entry in after.entries)] += 1
                    findings.wrong.update(tell(after))
                    if removed and findings.wrong:
                        return findings  # one is enough
                else:
                    todo.append(after)
    findings.worlds = len(seen)
    return findings


def futures(world: World) -> Iterator[World]:
    """All that may come of the next piece of life."""
    todo: list[tuple[int, ...]] = [()]
    while todo:
        after = world.again(todo.pop())
        live(after)
        taken = tuple(index for index, _ in after.taken)
        for place in range(len(after.choices), len(taken)):
            todo += [(*taken[:place], other) for other in range(1, after.taken[place][1])]
        yield after


@contextmanager
def _without(safeguard: str) -> Iterator[None]:
    async def at_once(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    async def alone(turns: Turns[Any, Any], request: Any) -> Any:
        (answer,) = turns._work([request])
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def absent(*_: Any) -> Absent:
        return Absent()

    async def trusting(*_: Any) -> bool:
        return True

    def read(world: World, *_: str, having: str = "") -> list[Any]:
        return [decoded(line) for line in world.lines if having.encode() in line]

    there, nothing = (lambda *_, **__: True), (lambda *_, **__: b"")
    file = SimpleNamespace(exists=there, cut_torn_tail=nothing, append=World.append)
    decoded = functools.cache(json.loads)
    older = SimpleNamespace(records=lambda *_, **__: (), horizon=float("-inf"), never=False, silent=there)
    size = SimpleNamespace(st_size=0)
    with ExitStack() as stack:
        stack.enter_context(patch.object(journal, "atomic", file))
        stack.enter_context(patch.object(journal, "read", nothing if safeguard == "journal" else read))
        stack.enter_context(patch.object(journal, "Older", lambda _: older))
        stack.enter_context(patch.object(journal, "os", SimpleNamespace(fstat=lambda _: size)))
        stack.enter_context(patch.object(Journal, "_open", lambda self: self._state))
        for module in (posting, readback, tries):
            stack.enter_context(patch.object(module, "in_thread", at_once))
        stack.enter_context(patch.object(Turns, "ask", alone))
        stack.enter_context(patch.object(tries.log, "warning"))
        stack.enter_context(patch.object(outgoing, "compose", functools.cache(outgoing.compose)))
        if safeguard == "read back":
            stack.enter_context(patch.object(tries, "read_back", absent))
        elif safeguard == "doubt of an empty answer":
            stack.enter_context(patch.object(readback, "_may_read_history", trusting))
        elif safeguard == "owner":
            stack.enter_context(patch.object(Journal, "owner", lambda *_, **__: None))
        elif safeguard == "end of the nonce's time":
            stack.enter_context(patch.object(tries, "NONCE_WINDOW", float("inf")))
        elif safeguard == "same nonce":
            numbers = iter(range(10**9))
            stack.enter_context(patch.object(identity, "nonce", lambda *_: str(next(numbers))))
        yield


# -- the promise -------------------------------------------------------------------------------------------

CASES: dict[str, dict[str, Any]] = {
    "one message": {},
    "no right to read the history": {"may_read": False},
    "one message in two parts": {"text": IN_TWO},
    "two equal messages": {"entries": 2},
}


def entries_of(case: str) -> int:
    return int(CASES[case].get("entries", 1))


#: What is taken away, in which case it matters, and what the search must find then.
SAFEGUARDS = [
    ("nonce", "one message", "repeated"),
    ("same nonce", "one message", "repeated"),
    ("end of the nonce's time", "one message", "repeated"),
    ("read back", "one message", "repeated"),
    ("doubt of an empty answer", "no right to read the history", "repeated"),
    ("owner", "two equal messages", "lost"),
    ("owner", "one message in two parts", "lost"),
    ("journal", "one message", "repeated"),
    ("journal", "one message in two parts", "repeated"),
    ("sync of the try", "one message", "repeated"),
    ("sync of the claim", "one message", "repeated"),
    ("sync at the start", "one message", "repeated"),
]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_or_repeated(case: str) -> None:
    """Any two troubles, wherever they strike, and an operator's retry on top."""
    found = explore(Budget(total=2), **CASES[case])
    assert {} == found.wrong
    assert found.worlds > 500
    # Without the right to look, what is unknown is said to be: it is neither posted twice nor given up.
    often = "failed" if case == "no right to read the history" else " ".join(["sent"] * entries_of(case))
    assert found.endings[often] > 200


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_or_repeated_whatever_happens(case: str) -> None:
    """Any three troubles; four where it is one message."""
    found = explore(Budget(total=4 if case == "one message" else 3), **CASES[case])
    print(f"{case}: {found.worlds} worlds, {found.lives} lives, {dict(found.endings)}")
    assert {} == found.wrong


@pytest.mark.parametrize(("safeguard", "case", "kind"), SAFEGUARDS)
def test_each_safeguard_is_needed(safeguard: str, case: str, kind: str) -> None:
    """Without it the same search comes upon what it prevents: so the search looks where it matters."""
    found = explore(Budget(total=2), **CASES[case], removed=safeguard)
    assert {kind} == set(found.wrong)
