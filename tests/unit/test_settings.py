"""Settings: where each comes from, what is refused, and a token that is nowhere to be seen."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import settings
from spoolbridge.errors import SettingsError
from spoolbridge.retention import DAY, Keep, Retention
from spoolbridge.settings import KEYS, AccessTable, Settings, load

SECRET = "MTQ2NzEwNjkxODUzODY3ODI5Mw.GsEcrE.t-t-t"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A Gas Town."""
    for name in ("mayor", "settings"):
        (tmp_path / "town" / name).mkdir(parents=True)
    return tmp_path / "town"


def refused(place: Path, **environ: str) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(SettingsError) as raised:
        load(dict(environ), place)
    return str(raised.value)


class TestDefaults:
    """Where nobody sets anything."""

    def test_in_any_directory(self, place: Path) -> None:
        """A spool in the working directory with everything in it, Discord's own address, no token."""
        expected = Settings(
            spool=place / "spool",
            channels=place / "spool" / "discord-channels.json",
            inbox=place / "spool" / "discord-inbox.jsonl",
            token="",
            guild_id=None,
            api_url="https://discord.com/api/v10",
            poll=("mayor-*",),
            poll_interval=15.0,
            max_upload=10_485_760,
            max_download=26_214_400,
            receipts=True,
            holds_secrets=True,
            gt="auto",
            town=None,
            project=place,
            routes={},
            notify={},
            access={},
            environment={},
        )
        assert expected == load({}, place)

    def test_of_the_process(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        """Its own environment and directory."""
        monkeypatch.chdir(place)
        monkeypatch.setenv("SPOOLBRIDGE_POLL_INTERVAL", "3")
        assert (place / "spool", 3.0) == (load().spool, load().poll_interval)

    @pytest.mark.parametrize("name", ["GT_TOWN_ROOT", "GT_ROOT"])
    def test_in_a_gas_town(self, name: str, town: Path, place: Path) -> None:
        """The town's own places, wherever one stands."""
        found = load({name: str(town)}, place)
        assert (town, town / "spool", town / "settings" / "discord-channels.json",
                town / "daemon" / "discord-inbox.jsonl") == (
            found.town, found.spool, found.channels, found.inbox,
        )  # fmt: skip

    @pytest.mark.parametrize("root", ["", "/nowhere", "."])
    def test_what_is_no_town(self, root: str, place: Path) -> None:
        """Without a `mayor/` in it."""
        assert load({"GT_TOWN_ROOT": root}, place).town is None

    def test_the_first_of_two_towns(self, town: Path, place: Path) -> None:
        """GT_TOWN_ROOT, and the other where the first is none."""
        assert town == load({"GT_TOWN_ROOT": str(town), "GT_ROOT": "/"}, place).town
        assert town == load({"GT_TOWN_ROOT": str(place), "GT_ROOT": str(town)}, place).town

    def test_the_inbox_and_the_channels_follow_the_spool(self, place: Path) -> None:
        """Unless they are set."""
        found = load({"SPOOLBRIDGE_SPOOL": "/var/spool/bridge"}, place)
        assert Path("/var/spool/bridge/discord-inbox.jsonl") == found.inbox
        assert Path("/var/spool/bridge/discord-channels.json") == found.channels


#: Setting → (what is written, the field, what it means).
WRITTEN = {
    "DISCORD_GUILD_ID": ("1467106918538678293", "guild_id", 1467106918538678293),
    "SPOOLBRIDGE_SPOOL": ("a/../b", "spool", "b"),
    "SPOOLBRIDGE_CHANNELS": ("c.json", "channels", "c.json"),
    "SPOOLBRIDGE_INBOX": ("/in/box.jsonl", "inbox", "/in/box.jsonl"),
    "SPOOLBRIDGE_API_URL": ("http://127.0.0.1:8000/api/", "api_url", "http://127.0.0.1:8000/api"),
    "SPOOLBRIDGE_POLL": ("mayor-*, vgt,,", "poll", ("mayor-*", "vgt")),
    "SPOOLBRIDGE_POLL_INTERVAL": ("0.5", "poll_interval", 0.5),
    "SPOOLBRIDGE_MAX_UPLOAD": ("20MiB", "max_upload", 20 << 20),
    "SPOOLBRIDGE_MAX_DOWNLOAD": ("100 MiB", "max_download", 104_857_600),
    "SPOOLBRIDGE_RECEIPTS": ("off", "receipts", False),
    "SPOOLBRIDGE_SECRETS": ("off", "holds_secrets", False),
    "SPOOLBRIDGE_GT": ("off", "gt", "off"),
    "SPOOLBRIDGE_KEEP_SENT": ("7d, 1GiB", "retention.sent", Keep(7 * DAY, 1 << 30)),
    "SPOOLBRIDGE_KEEP_FAILED": ("30d", "retention.failed", Keep(30 * DAY)),
    "SPOOLBRIDGE_KEEP_READ": ("never", "retention.read", Keep()),
    "SPOOLBRIDGE_KEEP_ATTACHMENTS": ("500 MB", "retention.attachments", Keep(None, 500_000_000)),
    "SPOOLBRIDGE_KEEP_JOURNAL": ("1000d", "retention.journal", Keep(1000 * DAY)),
}


class TestSources:
    """The environment, then `.env`, then `spoolbridge.toml`."""

    def test_every_setting_is_tried_here(self) -> None:
        """A new one needs a line above."""
        assert KEYS.keys() == WRITTEN.keys()

    @pytest.mark.parametrize("source", ["environment", ".env", "toml"])
    @pytest.mark.parametrize("name", WRITTEN)
    def test_each_from_each(self, name: str, source: str, place: Path) -> None:
        """And it means the same."""
        written, attribute, expected = WRITTEN[name]
        environ = {name: written} if source == "environment" else {}
        if source == ".env":
            (place / ".env").write_text(f"{name}={written}\n")
        elif source == "toml":
            (place / "spoolbridge.toml").write_text(f'{KEYS[name]} = "{written}"\n')
        if attribute in ("spool", "channels", "inbox"):
            expected = place / str(expected)
        assert expected == attrgetter(attribute)(load(environ, place))

    @pytest.mark.parametrize("name", WRITTEN)
    def test_the_order(self, name: str, place: Path) -> None:
        """The nearer one wins, also where the farther one could not be used."""
        written, attribute, _ = WRITTEN[name]
        expected = attrgetter(attribute)(load({name: written}, place))
        (place / "spoolbridge.toml").write_text(f'{KEYS[name]} = "nonsense"\n')
        (place / ".env").write_text(f"{name}={written}\n")
        assert expected == attrgetter(attribute)(load({}, place))
        (place / ".env").write_text(f"{name}=nonsense\n")
        assert expected == attrgetter(attribute)(load({name: written}, place))

    @pytest.mark.parametrize("source", ["environment", ".env", "toml"])
    @pytest.mark.parametrize("empty", ["", "  "])
    def test_an_empty_one_is_the_default(self, empty: str, source: str, place: Path) -> None:
        """`SPOOLBRIDGE_SPOOL=` above all: it would be the working directory itself."""
        environ = dict.fromkeys(KEYS, empty) if source == "environment" else {}
        if source == ".env":
            (place / ".env").write_text("".join(f"{name}={empty}\n" for name in KEYS))
        elif source == "toml":
            (place / "spoolbridge.toml").write_text("".join(f'{key} = "{empty}"\n' for key in KEYS.values()))
        found, default = load(environ, place), Settings(
            spool=place / "spool",
            channels=place / "spool" / "discord-channels.json",
            inbox=place / "spool" / "discord-inbox.jsonl",
            project=place,
            environment=environ,
        )  # fmt: skip
        assert default == found

    def test_toml_has_types(self, place: Path) -> None:
        """Numbers, lists and a table, as TOML writes them."""
        (place / "spoolbridge.toml").write_text(
            "guild_id = 1467106918538678293\npoll = ['mayor-*', 'vgt']\npoll_interval = 2\n"
            "[routes]\nvgt = 'mayor/'\nvi-status = 'villa/witness'\n"
        )
        found = load({}, place)
        assert (1467106918538678293, ("mayor-*", "vgt"), 2.0) == (
            found.guild_id, found.poll, found.poll_interval,
        )  # fmt: skip
        assert {"vgt": "mayor/", "vi-status": "villa/witness"} == found.routes

    def test_access(self, place: Path) -> None:
        """For all channels, a glob, a channel, and one of a rig, written as TOML nests it or in quotes."""
        (place / "spoolbridge.toml").write_text(
            "[access]\nusers = ['11', 12]\n[access.'mayor-*']\nroles = []\n[access.vgt]\nbots = true\n"
            "[access.villa.mayor-x]\nbots = ['13']\n[access.'villa.mayor-y']\nbots = false\n[access.empty]\n"
        )
        assert {
            "": AccessTable(users=frozenset({11, 12})),
            "mayor-*": AccessTable(roles=frozenset()),
            "vgt": AccessTable(bots=True),
            "villa.mayor-x": AccessTable(bots=frozenset({13})),
            "villa.mayor-y": AccessTable(bots=False),
            "empty": AccessTable(),
        } == load({}, place).access

    def test_files_of_a_town(self, town: Path, place: Path) -> None:
        """From its `settings/`, wherever one stands; the working directory's are nearer."""
        (town / "settings" / "spoolbridge.toml").write_text("poll_interval = 2\n")
        (town / "settings" / ".env").write_text(f"DISCORD_BOT_TOKEN={SECRET}\n")
        found = load({"GT_ROOT": str(town)}, place)
        assert (2.0, SECRET) == (found.poll_interval, found.token)
        (place / "spoolbridge.toml").write_text("poll_interval = 3\n")
        (place / ".env").write_text("DISCORD_BOT_TOKEN=other\n")
        found = load({"GT_ROOT": str(town)}, place)
        assert (3.0, "other") == (found.poll_interval, found.token)

    def test_the_env_file_beside_the_toml_comes_first(self, town: Path, place: Path) -> None:
        """They belong together."""
        (town / "settings" / "spoolbridge.toml").write_text("")
        (town / "settings" / ".env").write_text("SPOOLBRIDGE_POLL_INTERVAL=2\n")
        (place / ".env").write_text("SPOOLBRIDGE_POLL_INTERVAL=3\n")
        assert 2.0 == load({"GT_ROOT": str(town)}, place).poll_interval


class TestSizes:
    """Bytes as people write them."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [("0", 0), ("1", 1), ("500B", 500), ("2 kB", 2000), ("2KiB", 2048), ("1.5MiB", 1_572_864),
         ("25 MB", 25_000_000), ("1gib", 1 << 30), (" 7 ", 7)],
    )  # fmt: skip
    def test_forms(self, text: str, expected: int, place: Path) -> None:
        """With a unit, an i in it for 1,024, or without one; and 0 is no default."""
        assert expected == load({"SPOOLBRIDGE_MAX_DOWNLOAD": text}, place).max_download

    def test_a_number_in_the_toml(self, place: Path) -> None:
        """Without quotes."""
        (place / "spoolbridge.toml").write_text("max_download = 0\n")
        assert 0 == load({}, place).max_download


class TestDotenv:
    """`.env` as people write it."""

    @pytest.mark.parametrize(
        "line",
        ["SPOOLBRIDGE_POLL=x", "export SPOOLBRIDGE_POLL=x", "  SPOOLBRIDGE_POLL = x  ",
         'SPOOLBRIDGE_POLL="x"', "SPOOLBRIDGE_POLL='x'", "SPOOLBRIDGE_POLL=x\r", "\ufeffSPOOLBRIDGE_POLL=x",
         "# SPOOLBRIDGE_POLL=y\n\nOTHER=z\nSPOOLBRIDGE_POLL=x\nnonsense",
         "SPOOLBRIDGE_POLL=y\nSPOOLBRIDGE_POLL=x"],
    )  # fmt: skip
    def test_forms(self, line: str, place: Path) -> None:
        """`export`, quotes, blanks, CRLF, a byte order mark; the last one wins."""
        (place / ".env").write_bytes(line.encode())
        assert ("x",) == load({}, place).poll

    @pytest.mark.parametrize(
        ("value", "expected"), [('"x', '"x'), ("'", "'"), ('""x""', '"x"'), ("a=b", "a=b")]
    )
    def test_one_pair_of_quotes(self, value: str, expected: str, place: Path) -> None:
        """And only a pair."""
        (place / ".env").write_text(f"SPOOLBRIDGE_POLL={value}\n")
        assert (expected,) == load({}, place).poll

    @pytest.mark.parametrize("value", ['""', "''", '"  "'])
    def test_quoted_nothing(self, value: str, place: Path) -> None:
        """Is the default, as without quotes."""
        (place / ".env").write_text(f"SPOOLBRIDGE_POLL={value}\n")
        assert ("mayor-*",) == load({}, place).poll

    def test_other_programs_names_are_skipped(self, place: Path) -> None:
        """Even a wrong one of theirs."""
        (place / ".env").write_text("POLL_INTERVAL=abc\nSPOOLBRIDGE_POLL_INTERVALL=abc\n")
        assert 15.0 == load({}, place).poll_interval

    def test_no_text(self, place: Path) -> None:
        """A sentence with what to do, and nothing of what is in it."""
        (place / ".env").write_bytes(b"DISCORD_BOT_TOKEN=secret\xff")
        said = refused(place)
        assert "cannot be read as text; give it to the service's user, and: chmod 600" in said
        assert "secret" not in said


class TestRefused:
    """What cannot be used is named, with what it should be."""

    @pytest.mark.parametrize(
        ("name", "value", "form"),
        [
            ("DISCORD_GUILD_ID", "villa", "the guild's id, a number"),
            ("DISCORD_GUILD_ID", "-1", "the guild's id"),
            ("DISCORD_GUILD_ID", "1.5", "the guild's id"),
            ("DISCORD_GUILD_ID", "１", "the guild's id"),
            ("DISCORD_GUILD_ID", "9" * 5000, "the guild's id"),
            ("SPOOLBRIDGE_API_URL", "discord.com", "an http or https address"),
            ("SPOOLBRIDGE_API_URL", "file:///etc/passwd", "an http or https address"),
            ("SPOOLBRIDGE_POLL_INTERVAL", "0", "seconds, at least 0.05"),
            ("SPOOLBRIDGE_POLL_INTERVAL", "-1", "seconds"),
            ("SPOOLBRIDGE_POLL_INTERVAL", "inf", "seconds"),
            ("SPOOLBRIDGE_POLL_INTERVAL", "nan", "seconds"),
            ("SPOOLBRIDGE_POLL_INTERVAL", "soon", "seconds"),
            ("SPOOLBRIDGE_MAX_UPLOAD", "ten", "a size such as 10MiB"),
            ("SPOOLBRIDGE_MAX_UPLOAD", "10 parsecs", "a size such as 10MiB"),
            ("SPOOLBRIDGE_MAX_UPLOAD", "-1", "a size such as 10MiB"),
            ("SPOOLBRIDGE_MAX_DOWNLOAD", "-1", "a size such as 25MiB; 0 for none"),
            ("SPOOLBRIDGE_MAX_DOWNLOAD", "MiB", "a size"),
            ("SPOOLBRIDGE_MAX_DOWNLOAD", "1 TiB", "a size"),
            ("SPOOLBRIDGE_MAX_DOWNLOAD", "inf", "a size"),
            ("SPOOLBRIDGE_MAX_DOWNLOAD", "9" * 99, "a size"),
            ("SPOOLBRIDGE_RECEIPTS", "auto", "on or off"),
            ("SPOOLBRIDGE_SECRETS", "on", "hold or off"),
            ("SPOOLBRIDGE_GT", "on", "auto or off"),
        ],
    )
    def test_values(self, name: str, value: str, form: str, place: Path) -> None:
        """In one sentence."""
        said = refused(place, **{name: value})
        assert said.startswith(f"{name} cannot be '{value[:10]}")
        assert f"it is {form}" in said

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("poll_interval = ", "cannot be read"),
            ("spoool = 'x'", "unknown key 'spoool'; there are guild_id, spool, channels"),
            ("token = 'x'", "unknown key 'token'"),
            ("DISCORD_BOT_TOKEN = 'x'", "unknown key 'DISCORD_BOT_TOKEN'"),
            ("poll = [1]", "poll cannot be [1]; write a text"),
            ("poll_interval = true", "poll_interval cannot be True"),
            ("spool = {}", "spool cannot be {}"),
            ("spool = 1979-05-27", "spool cannot be"),
            ("poll_interval = inf", "SPOOLBRIDGE_POLL_INTERVAL cannot be 'inf'"),
            ("routes = 5", "[routes] maps channel names to mail addresses"),
            ("[routes]\nvgt = 5", "[routes] maps channel names to mail addresses"),
            ("access = 5", '[access] is a table; write [access], below it users = ["146'),
            ("[access]\nuser = ['1']", "[access] has an unknown key 'user'; there are users, roles, bots"),
            ("[access.vgt]\ndeny = ['1']", "[access.vgt] has an unknown key 'deny'"),
            ("[access]\nusers = 'nic'", "[access] users cannot be 'nic'; write ids: users = [\"146"),
            ("[access]\nusers = ['nic']", "[access] users cannot be ['nic']"),
            ("[access]\nusers = ['']", "[access] users cannot be ['']"),
            ("[access]\nusers = [1.5]", "[access] users cannot be [1.5]"),
            ("[access]\nusers = [true]", "[access] users cannot be [True]"),
            ("[access]\nusers = true", "[access] users cannot be True"),
            ("[access.'mayor-*']\nroles = [['1']]", "[access.mayor-*] roles cannot be [['1']]"),
            ("[access]\nbots = 'yes'", "[access] bots cannot be 'yes'; write ids: bots = [\"146"),
            ("[access]\nbots = 1", "[access] bots cannot be 1; write ids: bots = [\"146"),
            ("[access.villa.vgt]\nbot = true", "[access.villa.vgt] has an unknown key 'bot'"),
            ("[access.villa.vgt]\n[access.'villa.vgt']", "[access] has 'villa.vgt' twice; keep one"),
        ],
    )
    def test_toml(self, text: str, said: str, place: Path) -> None:
        """A key that is not known above all: a typo would be a setting that is not in force."""
        (place / "spoolbridge.toml").write_text(text)
        assert said in refused(place)

    def test_toml_that_is_no_text(self, place: Path) -> None:
        """A sentence too."""
        (place / "spoolbridge.toml").write_bytes(b"spool = '\xff'")
        assert "spoolbridge.toml cannot be read" in refused(place)

    @given(st.sampled_from(sorted(KEYS)), st.text(max_size=30).filter(lambda text: "\0" not in text))
    def test_any_value_is_used_or_refused(self, name: str, value: str) -> None:
        """Never anything but SettingsError; paths are absolute."""
        try:
            found = load({name: value}, Path("/anywhere"))
        except SettingsError as error:
            assert name in str(error)
        else:
            assert found.spool.is_absolute()
            assert found.channels.is_absolute()
            assert found.inbox.is_absolute()


class TestToken:
    """Read by the service alone, and shown to nobody."""

    def test_it_is_in_no_repr(self, place: Path) -> None:
        """Nor in a string, nor among what is handed on to other programs."""
        found = load({"DISCORD_BOT_TOKEN": f" {SECRET}\n", "PATH": "/bin"}, place)
        assert SECRET == found.token
        assert SECRET not in repr(found)
        assert SECRET not in str(found)
        assert {"PATH": "/bin"} == found.environment

    @pytest.mark.parametrize("name", [name for name in WRITTEN if "SPOOL" not in name.partition("_")[2]])
    def test_it_is_in_no_error(self, name: str, place: Path) -> None:
        """Whatever else is wrong."""
        with pytest.raises(SettingsError) as raised:
            load({"DISCORD_BOT_TOKEN": SECRET, "SPOOLBRIDGE_GT": "x", name: "x"}, place)
        assert SECRET not in str(raised.value)

    def test_the_toml_may_not_hold_it(self, place: Path) -> None:
        """It belongs in a file that only the service may read; the value is not repeated."""
        (place / "spoolbridge.toml").write_text(f"bot_token = '{SECRET}'\n")
        assert SECRET not in refused(place)

    def test_without_secrets(self, place: Path) -> None:
        """What serves agents opens no `.env`, and drops a token that it inherited: from its own environment,
        so that what it starts does not inherit it either."""
        (place / ".env").write_text(f"DISCORD_BOT_TOKEN={SECRET}\nSPOOLBRIDGE_POLL=x\n")
        environ = {"DISCORD_BOT_TOKEN": SECRET, "SPOOLBRIDGE_POLL_INTERVAL": "2"}
        found = load(environ, place, secrets=False)
        assert ("", ("mayor-*",), 2.0) == (found.token, found.poll, found.poll_interval)
        assert {"SPOOLBRIDGE_POLL_INTERVAL": "2"} == environ == found.environment

    def test_without_secrets_in_the_process(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The real environment."""
        monkeypatch.setenv("DISCORD_BOT_TOKEN", SECRET)
        assert "" == load(cwd=place, secrets=False).token
        assert settings.TOKEN not in os.environ

    def test_an_env_file_that_may_not_be_read_is_not_opened(self, place: Path) -> None:
        """Without secrets it need not even be text."""
        (place / ".env").write_bytes(b"\xff")
        assert "" == load({}, place, secrets=False).token


def test_settings_do_not_change(place: Path) -> None:
    """They are what was in force at the start."""
    with pytest.raises(AttributeError):
        load({}, place).spool = place  # type: ignore[misc]


class TestRetention:
    """How long things are kept."""

    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("90d", Keep(90 * DAY)),
            ("2GiB", Keep(None, 2 << 30)),
            (" 2 GiB , 90 D", Keep(90 * DAY, 2 << 30)),
            ("never", Keep()),
            ("0", Keep()),
        ],
    )
    def test_what_can_be_written(self, written: str, expected: Keep, place: Path) -> None:
        """An age, a size, both, or neither."""
        assert expected == load({"SPOOLBRIDGE_KEEP_SENT": written}, place).retention.sent

    @pytest.mark.parametrize(
        "written", ["90", "0d", "-1d", "1h", "90d 2GiB", "90d, 80d", "1GiB, 2GiB", ",", "99999d", "ever"]
    )
    def test_what_cannot(self, written: str, place: Path) -> None:
        """A number alone could be days or bytes; nothing is kept for less than a day."""
        assert "SPOOLBRIDGE_KEEP_SENT cannot be" in refused(place, SPOOLBRIDGE_KEEP_SENT=written)

    @pytest.mark.parametrize("name", ["FAILED", "READ", "JOURNAL"])
    def test_a_size_where_none_counts(self, name: str, place: Path) -> None:
        """It would be believed to hold."""
        assert "a time such as 90d" in refused(place, **{f"SPOOLBRIDGE_KEEP_{name}": "90d, 1GiB"})

    @pytest.mark.parametrize(
        ("failed", "journal"), [("never", "400d"), ("401d", "400d"), ("90d", "89d"), ("2d", "6d")]
    )
    def test_the_journal_outlives_what_failed(self, failed: str, journal: str, place: Path) -> None:
        """Else a retry would find nobody who knows whether it was posted."""
        said = refused(place, SPOOLBRIDGE_KEEP_FAILED=failed, SPOOLBRIDGE_KEEP_JOURNAL=journal)
        assert "the journal has to be kept" in said

    def test_a_table(self, place: Path) -> None:
        """In the file they stand together."""
        (place / "spoolbridge.toml").write_text('[retention]\nsent = "5d"\nread = 0\n')
        assert Retention(sent=Keep(5 * DAY), read=Keep()) == load({}, place).retention

    @pytest.mark.parametrize(
        "text", ['retention = "90d"', '[retention]\nmail = "90d"', "[retention]\nsent = true"]
    )
    def test_no_such_table(self, text: str, place: Path) -> None:
        """It says what there is."""
        (place / "spoolbridge.toml").write_text(text)
        assert "retention" in refused(place)


class TestWhereTheTokenGoes:
    """`dotenv_place`: the file that is read, or the one to make."""

    def test_the_file_that_is_read(self, place: Path, town: Path) -> None:
        """With spoolbridge.toml before the working directory, that before the town."""
        environ = {"GT_TOWN_ROOT": str(town)}
        assert place / ".env" == settings.dotenv_place({}, place)
        assert town / "settings" / ".env" == settings.dotenv_place(environ, place)
        (town / "settings" / ".env").touch()
        (place / ".env").touch()
        assert place / ".env" == settings.dotenv_place(environ, place)
        (town / "settings" / settings.TOML).touch()
        assert town / "settings" / ".env" == settings.dotenv_place(environ, place)

    def test_beside_the_settings(self, place: Path, town: Path) -> None:
        """Where there is none yet, it belongs to spoolbridge.toml."""
        (place / settings.TOML).touch()
        assert place / ".env" == settings.dotenv_place({"GT_TOWN_ROOT": str(town)}, place)

    @pytest.mark.parametrize("toml", ["place", "town", "none"])
    def test_what_is_put_there_is_found(self, toml: str, place: Path, town: Path) -> None:
        """Wherever spoolbridge.toml lies."""
        environ = {"GT_TOWN_ROOT": str(town)}
        if toml != "none":
            ((place if toml == "place" else town / "settings") / settings.TOML).touch()
        settings.dotenv_place(environ, place).write_text(f"DISCORD_BOT_TOKEN={SECRET}\n")
        assert load(environ, place).token == SECRET
