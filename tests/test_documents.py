"""The documents say what is there, and what is there is in the documents.

`python -m tests.test_documents` writes what can be written by a program: README's quotation of the help,
and the copies of the spool's contract and of the systemd units.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from spoolbridge import __version__, claim, header, identity, outgoing, ready, settings, split, spool
from spoolbridge.cli.program import cli
from spoolbridge.discord import permissions
from spoolbridge.errors import MessageError
from spoolbridge.incoming import from_discord, inbox_line, maildir_bytes
from spoolbridge.rendering import Kept
from tests.support.messages import GUILD, VILLA, incoming, json_message

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SPOOL = ROOT / "spoolbridge" / "SPOOL.md"
COPY = ROOT / "spool" / "README.md"
ARCHITECTURE = ROOT / "spoolbridge" / "ARCHITECTURE.md"
CHANGELOG = ROOT / "spoolbridge" / "CHANGELOG.md"
TESTS = ROOT / "tests" / "README.md"
CONTRIB = ROOT / "contrib" / "README.md"
#: The units that `init` fills in, which contrib/ shows.
UNITS = (ROOT / "spoolbridge" / "spoolbridge.service", ROOT / "spoolbridge" / "spoolbridge-system.service")

#: Each document and how many lines it may have.
LIMITS = {
    README: 280,
    SPOOL: 225,
    COPY: 225,
    ARCHITECTURE: 450,
    CHANGELOG: 400,
    TESTS: 200,
    CONTRIB: 120,
    ROOT / "contrib" / "gas-town.md": 120,
    ROOT / "contrib" / "agents.md": 120,
    ROOT / "contrib" / "claude-code" / "skills" / "discord" / "SKILL.md": 60,
}
DOCUMENTS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in LIMITS]

#: What a document of the project does not speak of: registries, somebody's machine, what is not in it.
FOREIGN = re.compile(
    r"\b(pypi|npmjs?|crates\.io|conda)\b|/(?:work|tmp|root|home)/",
    re.IGNORECASE,
)
FILE = {"id": "1", "filename": "a", "size": 1, "url": ""}
_BEGIN, _END = "<!-- commands -->\n", "<!-- /commands -->\n"
_WIDTH = 100  # characters, as in a usual terminal


def text(path: Path) -> str:
    return path.read_text("utf-8")


def ticked(passage: str) -> list[str]:
    """What stands in backticks, fences and everything in them left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", passage))


def tables(path: Path, first_cell: str) -> list[list[list[str]]]:
    """Every table whose heading begins with that cell: its rows, as cells."""
    found = []
    for part in text(path).split(f"\n| {first_cell} |")[1:]:
        rows = itertools.takewhile(lambda line: line.startswith("|"), part.splitlines()[2:])
        found.append([[cell.strip() for cell in row.split("|")[1:-1]] for row in rows])
    return found


def table(path: Path, first_cell: str) -> list[list[str]]:
    """The first of them."""
    return tables(path, first_cell)[0]


def commands() -> dict[str, click.Command]:
    """Every command by the words that call it."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


def helps() -> str:
    """What README quotes: the help of the program and of its groups."""
    groups = ["", *(name for name, each in commands().items() if isinstance(each, click.Group))]
    quoted = []
    for name in groups:
        words = [*name.split(), "--help"]
        shown = CliRunner().invoke(cli, words, prog_name="spoolbridge", terminal_width=_WIDTH).output
        if name:  # the rest is in every help
            shown = f"{shown.splitlines()[0]}\n\n{shown[shown.index('Commands:') :]}"
        quoted.append(f"$ {' '.join(['spoolbridge', *words])}\n{shown}")
    return "```text\n" + "\n".join(quoted) + "```\n"


def with_helps(readme: str) -> str:
    before, _, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert end
    return f"{before}{_BEGIN}{helps()}{_END}{after}"


def test_every_document_is_known() -> None:
    """A document that nothing here looks at would be free to say anything."""
    places = ("*.md", "spoolbridge/**/*.md", "spool/*.md", "contrib/**/*.md", "tests/**/*.md")
    found = {path for place in places for path in ROOT.glob(place)}
    assert set(LIMITS) == found


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_is_short(path: Path) -> None:
    """What is longer than its limit is not read."""
    assert len(text(path).splitlines()) <= LIMITS[path]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_speaks_of_the_project_alone(path: Path) -> None:
    """No registry, no path of somebody's machine, no tool or page from outside."""
    assert [] == [found[0] for found in FOREIGN.finditer(text(path))]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", text(path))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_within_the_project_resolve(path: Path) -> None:
    """Each relative link leads to a file that is there, and to a heading that it has."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        inside = place.is_relative_to(ROOT) and place.exists()
        if not inside or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert [] == broken


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_settings_that_a_document_names_exist(path: Path) -> None:
    """No document promises a setting that nothing reads."""
    named = set(re.findall(r"\b(?:SPOOLBRIDGE|DISCORD)_[A-Z_]+\b", text(path)))
    assert named <= {*settings.SECRETS, *settings.KEYS, "SPOOLBRIDGE_TEST_SEED"}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_commands_that_a_document_names_exist(path: Path) -> None:
    """`spoolbridge VERB` in backticks or a shell block is a command, with its second word in a group."""
    code = [*ticked(text(path)), *re.findall(r"(?ms)^```(?:sh|text)\n(.*?)^```", text(path))]
    unknown = []
    for words in re.findall(r"\bspoolbridge ([a-z]+(?: [a-z]+)?)", "\n".join(code)):
        verb, _, second = words.partition(" ")
        command = commands().get(verb)
        inner = isinstance(command, click.Group) and second
        if command is None or (inner and words not in commands()):
            unknown.append(words)
    assert [] == unknown


def test_readme_quotes_the_help_as_it_is() -> None:
    """Every command is in it. Made anew by: python -m tests.test_documents"""
    assert with_helps(text(README)) == text(README)
    quoted = text(README).partition(_BEGIN)[2].partition(_END)[0]
    assert [] == [name for name in commands() if not re.search(rf"\b{name.split()[-1]}  ", quoted)]


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/spoolbridge demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest",
        "uv run spoolbridge demo",
        "uv run --extra dev pytest",
    ],
)
def test_readme_has_the_two_commands(command: str) -> None:
    """Each complete on a fresh machine, and the short form for who has uv."""
    assert re.search(rf"(?m)^{re.escape(command)}$|`{re.escape(command)}`", text(README))


def test_readme_tells_every_setting() -> None:
    """The table holds each name with its key in spoolbridge.toml and its default, and nothing else."""
    rows = table(README, "name")
    named = {ticked(name)[0]: (ticked(key) or [""])[0] for name, key, _ in rows}
    assert dict.fromkeys(settings.SECRETS, "") | settings.KEYS == named
    told = {ticked(name)[0]: default for name, _, default in rows}
    assert f"`{settings.DEFAULT_API_URL}`" in told["SPOOLBRIDGE_API_URL"]
    assert f"`{','.join(settings.DEFAULT_POLL)}`" in told["SPOOLBRIDGE_POLL"]
    assert f"{settings.DEFAULT_POLL_INTERVAL:g} seconds" in told["SPOOLBRIDGE_POLL_INTERVAL"]
    assert f"`{settings.DEFAULT_MAX_DOWNLOAD >> 20}MiB`" in told["SPOOLBRIDGE_MAX_DOWNLOAD"]
    assert "[routes]" in text(README)
    assert "[notify]" in text(README)


def test_readme_invites_the_bot_with_what_it_needs() -> None:
    """The number in the invitation is the sum of the permissions that the code calls the bridge's."""
    found = re.findall(r"permissions=(\d+)", text(README))
    assert [str(permissions.BRIDGE)] == found


def test_readme_shows_the_mcp_configuration_that_contrib_holds() -> None:
    """Who copies either gets the same."""
    (quoted,) = re.findall(r"(?ms)^```json\n(.*?)^```", text(README))
    assert json.loads(text(ROOT / "contrib" / "mcp.json")) == json.loads(quoted)


def test_the_contract_is_what_init_puts_into_a_spool() -> None:
    """One text, in two places, and it leads nowhere else: in a spool there is nothing to link to."""
    assert text(SPOOL) == text(COPY)
    assert [] == re.findall(r"\]\(([^)]+)\)", text(SPOOL))


def test_contrib_shows_the_units_that_init_writes() -> None:
    """One text each, in two places: who copies a unit gets what init would have made of it."""
    for unit in UNITS:
        assert text(unit) == text(CONTRIB.with_name(unit.name))


def test_git_keeps_nothing_of_a_spool_but_its_contract() -> None:
    """Messages and tokens must not be committed by accident."""
    ignored = (ROOT / "spool" / ".gitignore").read_text("utf-8").splitlines()
    assert ["*", "!.gitignore", "!README.md"] == ignored


def test_the_contract_names_every_directory() -> None:
    """Each directory of a spool has its row, and each row its directory."""
    named = {ticked(row[0])[0].partition("/")[0] for row in table(SPOOL, "directory")}
    assert set(spool.DIRECTORIES) == named


def test_the_contract_names_every_option() -> None:
    """Each key of the header has its row, and each row is a key."""
    assert list(header.KEYS) == [ticked(row[0])[0] for row in table(SPOOL, "key")]


def test_the_contracts_example_is_a_header() -> None:
    """The message shown is read as it is meant."""
    (shown,) = re.findall(rf"(?m)((?:^    .*\n|^\n)*^    {header.MAGIC}\n(?:^    .*\n|^\n)*)", text(SPOOL))
    options, body = header.parse(re.sub(r"(?m)^    ", "", shown).strip("\n"))
    assert (1467106918538678293, 1795348800.0) == (options.reply_to, options.not_after)
    assert "The text begins here." == body


def test_the_contracts_id_is_one() -> None:
    """Every ID shown in any document has the form of an ID."""
    for path in LIMITS:
        for shown in re.findall(r"\b\d{8}T[\w.]+Z-\w+", text(path)):
            assert identity.parse(shown), shown


def test_the_contract_lists_every_ignored_name_and_every_type() -> None:
    """Both ways: a pattern or a suffix that is left out surprises, one too many loses a message."""
    patterns = re.search(r"(?s)These names are left alone.*?:(.*?)\. A directory", text(SPOOL))
    assert patterns is not None
    assert set(ready._IGNORED) == set(ticked(patterns[1]))
    types = re.search(r"(?s)if its suffix is one of:(.*?)\. Anything else", text(SPOOL))
    assert types is not None
    assert set(outgoing.BINARY_TYPES) == set(ticked(types[1]))


def test_the_contract_has_the_figures_of_the_code() -> None:
    """Lengths, counts and times that a writer relies on."""
    contract = " ".join(text(SPOOL).split())
    for said in (
        f"{ready.SETTLE * 1000:.0f} ms after its last change",
        f"it waits {ready.SETTLE_WITHOUT_LEASE:.0f} s, whatever the name",
        f"after {ready.GRACE:.0f} s, an empty file",
        f"more than {ready.LARGEST // 2**20} MiB",
        f"up to {settings.DEFAULT_MAX_DOWNLOAD // 2**20} MiB each unless the settings say otherwise",
        f"{split.LIMIT:,} UTF-16 units",
        f"at most {header.LONGEST:,} bytes",
    ):
        assert said in contract
    assert (5, 10) == (outgoing.MOST_PARTS, outgoing.MOST_FILES)
    assert "up to five parts" in contract
    assert "at most ten files" in contract


def test_the_contract_shows_a_reason_as_it_is_written() -> None:
    """The sentence, the hint and the command of the example are those of the code."""
    shown = re.search(r"(?m)^    (\S+Z  line 2:.*)\n    (What to do: .*)\n    (Retry: mv .*)\n", text(SPOOL))
    assert shown is not None
    with pytest.raises(MessageError) as refused:
        header.parse(f"{header.MAGIC}\nRepy-To: 12\n\nhi")
    entry = "20261123T012925.509817Z-tzkkqrar.bad"
    now = identity.time_of("20261123T012925.000000Z-00000000")
    error = refused.value
    channel = "mayor-villa"
    written = claim.why(Path("…"), channel, entry, error.what, error.hint, channel, now).splitlines()
    assert written[0] == shown[1]
    assert written[1].startswith(shown[2].removesuffix("…"))
    assert written[2].replace("'", "") == shown[3]


def test_the_contract_names_every_header_of_a_mail() -> None:
    """What an incoming file can hold is what the table lists; MIME's own headers go without saying."""
    reply: dict[str, Any] = {"type": 19, "message_reference": {"message_id": "1"}}
    odd = from_discord(json_message() | {"content": None}, VILLA, GUILD)
    files = [FILE, {**FILE, "id": "2"}]
    kept = {1: Kept("attachments/…"), 2: Kept(reason="…")}
    attached = from_discord(json_message(attachments=files), VILLA, GUILD, kept=kept)
    mails = [incoming(**reply), incoming(channel_id="1573850500300800001"), odd, attached]
    heads = [maildir_bytes(mail).decode().partition("\n\n")[0] for mail in mails]
    written = {line.partition(":")[0] for head in heads for line in head.splitlines()}
    listed = {each for row in table(SPOOL, "header") for each in ticked(row[0])}
    assert listed == {name for name in written if not name.startswith(("Content-", "MIME-"))}


def test_the_contract_names_every_key_of_the_inbox_file() -> None:
    """The second table of keys is the line that is appended; so are the keys of what is attached."""
    (listed,) = [row[1] for row in tables(SPOOL, "key")[1] if row[0] == "`attachments`"]
    (attached,) = json.loads(inbox_line(incoming(attachments=[FILE]), ""))["attachments"]
    assert set(attached) == set(ticked(listed))
    named = {each for row in tables(SPOOL, "key")[1] for each in ticked(row[0])}
    assert set(json.loads(inbox_line(incoming(), "incoming/…"))) == named


def test_the_architecture_names_every_module() -> None:
    """Each module has its line, and each line its module."""
    package = ROOT / "spoolbridge"
    there = {
        str(path.relative_to(package)) if path.name != "__init__.py" else f"{path.parent.name}/"
        for path in package.rglob("*.py")
    }
    named = {each for row in table(ARCHITECTURE, "module") for each in ticked(row[0])}
    assert there - {"spoolbridge/"} == {name if name.endswith("/") else f"{name}.py" for name in named}


def test_an_entry_is_in_one_directory_in_every_state() -> None:
    """The state table has exactly one + among the four directories, and knows only + - ?."""
    heading = re.search(r"(?m)^\| state \|(.*)$", text(ARCHITECTURE))
    assert heading is not None
    places = [(ticked(cell) or [cell.strip()])[0] for cell in heading[1].split("|")[:-1]]
    directories = [n for n, place in enumerate(places) if place.rstrip("/") in spool.STATES]
    assert len(spool.STATES) == len(directories)
    for _, *signs in table(ARCHITECTURE, "state"):
        assert set(signs) <= {"+", "-", "?"}
        assert 1 == sum(signs[n] == "+" for n in directories)
        assert [] == [n for n in directories if signs[n] == "?"]


def test_the_architecture_names_every_record_of_the_journal() -> None:
    """The kinds that the journal writes are the ones that are explained."""
    package = ROOT / "spoolbridge"
    source = "".join((package / name).read_text("utf-8") for name in ("journal.py", "history.py"))
    kinds = set(re.findall(r'_append\(\s*"([a-z-]+)"|"kind": "([a-z-]+)"', source))
    named = {ticked(row[0])[0] for row in table(ARCHITECTURE, "record")}
    assert {first or second for first, second in kinds} == named


def test_the_changelog_begins_with_this_version() -> None:
    """The newest entry is the version that the program says it is, with its day."""
    first = re.search(r"(?m)^## \[(.+?)\] – (\d{4}-\d{2}-\d{2})$", text(CHANGELOG))
    assert first is not None
    assert __version__ == first[1]


def test_the_tests_readme_names_every_group_and_marker() -> None:
    """Each directory of tests and each marker is explained, and nothing that is not there."""
    groups = {each.parent.name for each in (ROOT / "tests").glob("*/*.py") if each.name != "__init__.py"}
    files = {each.name for each in (ROOT / "tests").glob("test_*.py")}
    named = {ticked(row[0])[0] for row in table(TESTS, "group")}
    assert {*(f"{group}/" for group in groups), *files} == named
    markers = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["pytest"]["markers"]
    explained = {ticked(row[0])[0] for row in table(TESTS, "marker")}
    assert {each.partition(":")[0] for each in markers} == explained


def test_contribs_readme_names_every_file() -> None:
    """Each file beside it has its row, and each row its file."""
    there = {path.name for path in CONTRIB.parent.iterdir() if path != CONTRIB}
    named = {match for row in table(CONTRIB, "file") for match in re.findall(r"\[([^\]]+)\]", row[0])}
    assert there == named


if __name__ == "__main__":
    README.write_text(with_helps(text(README)), "utf-8")
    COPY.write_text(text(SPOOL), "utf-8")
    for each in UNITS:
        CONTRIB.with_name(each.name).write_text(text(each), "utf-8")
