"""The settings: the environment, then `.env`, then `spoolbridge.toml`, then the defaults.

The only reader of the environment. The secrets are kept out of every repr and are read by the service
alone: `load(..., secrets=False)` opens no `.env` and drops those that were inherited.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from spoolbridge.errors import SettingsError
from spoolbridge.retention import Keep, Retention, kept, kept_for, size

_T = TypeVar("_T")

TOML = "spoolbridge.toml"
DEFAULT_API_URL = "https://discord.com/api/v10"
DEFAULT_POLL = ("mayor-*",)
DEFAULT_POLL_INTERVAL = 15.0  # seconds
DEFAULT_MAX_UPLOAD = 10 << 20  # bytes a file; any server takes them (discord-api-docs #8572)
DEFAULT_MAX_DOWNLOAD = 25 << 20  # bytes
SHORTEST_POLL_INTERVAL = 0.05  # seconds; an emulator may be asked more often than Discord

#: Setting → its key in spoolbridge.toml. The token has none: it belongs in a 0600 file.
KEYS = {
    "DISCORD_GUILD_ID": "guild_id",
    "SPOOLBRIDGE_SPOOL": "spool",
    "SPOOLBRIDGE_CHANNELS": "channels",
    "SPOOLBRIDGE_INBOX": "inbox",
    "SPOOLBRIDGE_API_URL": "api_url",
    "SPOOLBRIDGE_POLL": "poll",
    "SPOOLBRIDGE_POLL_INTERVAL": "poll_interval",
    "SPOOLBRIDGE_MAX_UPLOAD": "max_upload",
    "SPOOLBRIDGE_MAX_DOWNLOAD": "max_download",
    "SPOOLBRIDGE_RECEIPTS": "receipts",
    "SPOOLBRIDGE_SECRETS": "secrets",
    "SPOOLBRIDGE_GT": "gt",
    "SPOOLBRIDGE_KEEP_SENT": "retention.sent",
    "SPOOLBRIDGE_KEEP_FAILED": "retention.failed",
    "SPOOLBRIDGE_KEEP_READ": "retention.read",
    "SPOOLBRIDGE_KEEP_ATTACHMENTS": "retention.attachments",
    "SPOOLBRIDGE_KEEP_JOURNAL": "retention.journal",
}
#: The tables of names in spoolbridge.toml, what they map, and a line of each.
_NAMES = {
    "routes": ("channel names to mail addresses", 'vgt = "mayor/"'),
    "notify": ("what notify is told to channel names", 'admin = "vgt"'),
}
_PROJECT = "CLAUDE_PROJECT_DIR"  # set by Claude Code for the servers that it starts
TOKEN = "DISCORD_BOT_TOKEN"  # noqa: S105  (the setting's name, not its value)
HTTP_KEY = "SPOOLBRIDGE_HTTP_KEY"
#: What stands in the environment or in `.env`, never in spoolbridge.toml, and is the service's alone.
SECRETS = (TOKEN, HTTP_KEY)
SHORTEST_KEY = 16  # characters

_UNTOLD = ("token", "http_key", "environment")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class AccessTable(NamedTuple):
    """What one table says of who reaches the agents; None: nothing, so that a less specific one does."""

    users: frozenset[int] | None = None
    roles: frozenset[int] | None = None
    #: Whether bots and webhooks do too; a set: those with these ids.
    bots: bool | frozenset[int] | None = None


_EVERYBODY: Mapping[str, AccessTable] = MappingProxyType({})


class Settings(NamedTuple):
    """Everything that can be set, checked. Paths are absolute, times in seconds, sizes in bytes."""

    spool: Path
    channels: Path
    inbox: Path
    token: str = ""
    #: What the page asks for before it changes anything; empty: it changes nothing.
    http_key: str = ""
    guild_id: int | None = None
    api_url: str = DEFAULT_API_URL
    poll: tuple[str, ...] = DEFAULT_POLL
    poll_interval: float = DEFAULT_POLL_INTERVAL
    max_upload: int = DEFAULT_MAX_UPLOAD
    #: Of one file that a human attached; 0: none is downloaded.
    max_download: int = DEFAULT_MAX_DOWNLOAD
    #: 👀 on what has been filed and ✅ on what has been read, or not.
    receipts: bool = True
    #: Whether a drop that holds a secret of a known shape is held back.
    holds_secrets: bool = True
    gt: str = "auto"
    #: How long what is done with is kept.
    retention: Retention = Retention()
    #: The Gas Town around us, where there is one.
    town: Path | None = None
    #: The project that an agent works in: what the MCP tools may attach files of.
    project: Path = Path()
    #: Channel name → mail address, for what is not `mayor-*`.
    routes: Mapping[str, str] = _NOTHING
    #: Channel, `rig.channel` or glob ("": all channels) → who reaches the agents there.
    access: Mapping[str, AccessTable] = _EVERYBODY
    #: What `notify --channel` is told → the channel's address.
    notify: Mapping[str, str] = _NOTHING
    #: Our own environment without the token: what `gt` is given a few names of.
    environment: Mapping[str, str] = _NOTHING

    def __repr__(self) -> str:
        told = {name: value for name, value in self._asdict().items() if name not in _UNTOLD}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def load(
    environ: MutableMapping[str, str] | None = None, cwd: Path | None = None, *, secrets: bool = True
) -> Settings:
    """The settings in force in `cwd`. Raises SettingsError with the name of what cannot be used."""
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    town, toml_path, dotenv_path = _sources(environ, cwd)
    values, tables = _toml(toml_path) if toml_path else ({}, _Tables())
    if not secrets:
        for name in SECRETS:
            environ.pop(name, None)
    elif dotenv_path.is_file():
        from spoolbridge import dotenv  # what `send` does without

        said = dotenv.load(dotenv_path)
        values |= {name: said[name] for name in (*KEYS, *SECRETS) if name in said}
    values |= {name: environ[name] for name in (*KEYS, *SECRETS) if name in environ}
    values = {name: value for name, value in values.items() if value.strip()}  # NAME= is the default
    inherited = {name: value for name, value in environ.items() if name not in SECRETS}
    project = Path(os.path.realpath(environ.get(_PROJECT) or cwd))
    return _settings(values, tables, cwd, town)._replace(environment=inherited, project=project)


def dotenv_place(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """The `.env` that the token is read from; where there is none, the one to make."""
    return _sources(os.environ if environ is None else environ, Path.cwd() if cwd is None else cwd)[2]


def _sources(environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, Path | None, Path]:
    """The town, the spoolbridge.toml, and the `.env`, which need not be there."""
    town = _town(environ)
    places = [cwd, *([town / "settings"] if town else [])]
    toml_path = next((place / TOML for place in places if (place / TOML).is_file()), None)
    best = toml_path.parent if toml_path else places[-1]
    order = dict.fromkeys([*([best] if toml_path else []), *places])
    return town, toml_path, next((each for each in order if (each / ".env").is_file()), best) / ".env"


def _town(environ: Mapping[str, str]) -> Path | None:
    for name in ("GT_TOWN_ROOT", "GT_ROOT"):
        root = environ.get(name)
        if root and (Path(root) / "mayor").is_dir():
            return Path(root).resolve()
    return None


def _settings(values: Mapping[str, str], tables: _Tables, cwd: Path, town: Path | None) -> Settings:
    spool = cwd / values.get("SPOOLBRIDGE_SPOOL", town / "spool" if town else "spool")
    channels = town / "settings" if town else spool
    inbox = town / "daemon" if town else spool
    largest = _checked(values, "SPOOLBRIDGE_MAX_DOWNLOAD", size, "a size such as 25MiB; 0 for none")
    return Settings(
        spool=Path(os.path.abspath(spool)),
        channels=cwd / values.get("SPOOLBRIDGE_CHANNELS", channels / "discord-channels.json"),
        inbox=cwd / values.get("SPOOLBRIDGE_INBOX", inbox / "discord-inbox.jsonl"),
        token=values.get(TOKEN, "").strip(),
        http_key=_http_key(values.get(HTTP_KEY, "").strip()),
        guild_id=_checked(values, "DISCORD_GUILD_ID", _id, "the guild's id, a number"),
        api_url=_checked(values, "SPOOLBRIDGE_API_URL", _url, "an http or https address") or DEFAULT_API_URL,
        poll=_checked(values, "SPOOLBRIDGE_POLL", _globs, "names or globs, by commas") or DEFAULT_POLL,
        poll_interval=_checked(
            values, "SPOOLBRIDGE_POLL_INTERVAL", _interval, f"seconds, at least {SHORTEST_POLL_INTERVAL}"
        )
        or DEFAULT_POLL_INTERVAL,
        max_upload=_checked(values, "SPOOLBRIDGE_MAX_UPLOAD", size, "a size such as 10MiB")
        or DEFAULT_MAX_UPLOAD,
        max_download=DEFAULT_MAX_DOWNLOAD if largest is None else largest,
        receipts=_checked(values, "SPOOLBRIDGE_RECEIPTS", _one_of("on", "off"), "on or off") != "off",
        holds_secrets=_checked(values, "SPOOLBRIDGE_SECRETS", _one_of("hold", "off"), "hold or off") != "off",
        gt=_checked(values, "SPOOLBRIDGE_GT", _one_of("auto", "off"), "auto or off") or "auto",
        retention=_retention(values),
        town=town,
        routes=dict(tables.routes),
        notify=dict(tables.notify),
        access=dict(tables.access),
    )


def _retention(values: Mapping[str, str]) -> Retention:
    found: dict[str, Keep] = {}
    for name, key in KEYS.items():
        table, _, kind = key.partition(".")
        if table == "retention":
            sized = kind in ("sent", "attachments")
            form = "such as 90d, 2GiB, or never" if sized else "a time such as 90d, or never"
            keep = _checked(values, name, kept if sized else kept_for, form)
            if keep is not None:
                found[kind] = keep
    retention = Retention(**found)
    if retention.contradiction:
        hint = "set SPOOLBRIDGE_KEEP_JOURNAL to more, or to never"
        raise SettingsError(retention.contradiction, hint)
    return retention


def _checked(values: Mapping[str, str], name: str, read: Callable[[str], _T], form: str) -> _T | None:
    if name not in values:
        return None
    try:
        return read(values[name].strip())
    except ValueError:
        raise SettingsError(f"{name} cannot be {values[name]!r}", f"it is {form}") from None


def _http_key(key: str) -> str:
    """Not shown in what is raised, as other settings are."""
    if key and not (len(key) >= SHORTEST_KEY and key.isascii() and key.isprintable() and " " not in key):
        form = f"{SHORTEST_KEY} or more plain characters without a space"
        raise SettingsError(f"{HTTP_KEY} is too short, or no key", f"it is {form}: openssl rand -hex 16")
    return key


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(text)
    return text.rstrip("/")


def _globs(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (glob.strip() for glob in text.split(","))))


def _interval(text: str) -> float:
    seconds = float(text)
    if not SHORTEST_POLL_INTERVAL <= seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


class _Tables(NamedTuple):
    """What spoolbridge.toml holds besides plain values."""

    routes: Mapping[str, str] = _NOTHING
    notify: Mapping[str, str] = _NOTHING
    access: Mapping[str, AccessTable] = _EVERYBODY


def _toml(path: Path) -> tuple[dict[str, str], _Tables]:
    import tomllib

    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    routes, notify = (_names(path, each, table.pop(each, {})) for each in _NAMES)
    tables = _Tables(routes, notify, _access(path, table.pop("access", {})))
    names = {key: name for name, key in KEYS.items()}
    retention = table.pop("retention", {})
    if not isinstance(retention, dict):
        raise SettingsError(f"{path}: [retention] is a table", 'write [retention], below it sent = "90d"')
    table |= {f"retention.{key}": value for key, value in retention.items()}
    if unknown := sorted(table.keys() - names.keys()):
        hint = f"there are {', '.join(names)}, [routes], [notify] and [access]"
        raise SettingsError(f"{path}: unknown key {unknown[0]!r}", hint)
    return {names[key]: _plain(path, key, value) for key, value in table.items()}, tables


def _names(path: Path, title: str, table: object) -> dict[str, str]:
    """A table of texts."""
    if not isinstance(table, dict) or not all(isinstance(each, str) for each in table.values()):
        what, example = _NAMES[title]
        raise SettingsError(f"{path}: [{title}] maps {what}", f"write {example}")
    return table


def _access(path: Path, table: object, name: str = "") -> dict[str, AccessTable]:
    """The table and those within it by the channels that they are for; `[access.rig.channel]` is nested."""
    title = f"[access.{name}]" if name else "[access]"
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: {title} is a table", f"write {title}, below it users = [{_AN_ID}]")
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    if unknown := sorted(table.keys() - inner.keys() - set(AccessTable._fields)):
        hint = f"there are users, roles, bots, and tables of channels such as {_A_TABLE}"
        raise SettingsError(f"{path}: {title} has an unknown key {unknown[0]!r}", hint)
    said = {key: _who(path, title, key, value) for key, value in table.items() if key not in inner}
    found = {name: AccessTable(**said)} if said or (name and not inner) else {}
    for key, value in inner.items():
        for place, each in _access(path, value, f"{name}.{key}" if name else key).items():
            if place in found:
                raise SettingsError(f"{path}: [access] has {place!r} twice", "keep one of the tables")
            found[place] = each
    return found


_AN_ID = '"1467106918538678293"'
_A_TABLE = '[access.mayor-villa] or [access."mayor-*"]'


def _who(path: Path, title: str, key: str, value: object) -> Any:
    """Ids as a set; `bots` may be true or false as well."""
    if key == "bots" and isinstance(value, bool):
        return value
    ids = [str(each) for each in value if type(each) in (str, int)] if isinstance(value, list) else None
    if ids is None or len(ids) != len(value) or not all(_is_id(each) for each in ids):  # type: ignore[arg-type]
        form = f"write ids: {key} = [{_AN_ID}]" + (", or true or false" if key == "bots" else "")
        hint = f"{form}; Discord copies them in its Developer Mode"
        raise SettingsError(f"{path}: {title} {key} cannot be {value!r}", hint)
    return frozenset(map(int, ids))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) <= 20


def _plain(path: Path, key: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise SettingsError(f"{path}: {key} cannot be {value!r}", "write a text, a number or a list of texts")
