"""The systemd unit of one installation: what contrib/ holds, with its own places filled in."""

from __future__ import annotations

import pwd
import re
import sys
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from spoolbridge import atomic
from spoolbridge.errors import SettingsError
from spoolbridge.settings import KEYS, Settings

Kind = Literal["user", "system"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAME = "spoolbridge.service"
USER = "spoolbridge"  # whom the service runs as where root has made the spool

_FILES: dict[Kind, str] = {"user": "spoolbridge.service", "system": "spoolbridge-system.service"}
_HEAD = "# Written by `spoolbridge init`. What is changed here stays, unless init is told to write it anew.\n"
_HOMES = ("/home", "/root", "/run/user")  # what ProtectHome= closes


class Unit(NamedTuple):
    """A unit and where it is written; `next` are the commands behind it, for people to run."""

    kind: Kind
    path: Path
    text: str
    next: tuple[str, ...]


def made_for(settings: Settings, kind: Kind, dotenv: Path, *, cwd: Path) -> Unit:
    """The unit that starts this program with these settings.

    Raises SettingsError where a path cannot stand in a unit.
    """
    program = Path(sys.executable).with_name("spoolbridge")
    directory = _directory(settings, dotenv, cwd)
    text = resources.files("spoolbridge").joinpath(_FILES[kind]).read_text("utf-8")
    text = _HEAD + text[text.index("\n[Unit]") :]
    said = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in _environment(settings).items()]
    text = _set(text, "WorkingDirectory", _escaped(str(directory)))
    text = _set(text, "ExecStart", f"{_quoted(str(program))} run")
    text = re.sub(r"(?m)^# In a Gas Town:\n#Environment=.*\n", lambda _: "".join(said), text)
    if kind == "user":
        return Unit(kind, _user_place(settings), text, _USERS_NEXT)
    return _system(settings, text, dotenv, [program, directory])


def written(unit: Unit) -> str | None:
    """What stands where the unit is to be; None: nothing yet. Raises SettingsError where nobody can look."""
    try:
        return unit.path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{unit.path} cannot be read ({error.strerror})", "make it yours") from None


def write(unit: Unit) -> None:
    """Raises SettingsError where it cannot be written."""
    try:
        unit.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.directory(unit.path.parent) as at:
            atomic.replace(unit.path.name, unit.text.encode(), at=at, mode=0o644)
    except OSError as error:
        what = f"{unit.path} cannot be written ({error.strerror})"
        raise SettingsError(what, "make its directory yours") from None


_USERS_NEXT = (
    "systemctl --user daemon-reload && systemctl --user enable --now spoolbridge",
    "loginctl enable-linger    # so that it also runs while you are not logged in",
)


def _user_place(settings: Settings) -> Path:
    config = settings.environment.get("XDG_CONFIG_HOME")
    return Path(config or Path.home() / ".config") / "systemd" / "user" / NAME


def _system(settings: Settings, text: str, dotenv: Path, places: Iterable[Path]) -> Unit:
    """Written beside `.env`: only root may put it where systemd looks for it."""
    spool = settings.spool.stat()
    user = _name_of(spool.st_uid) if spool.st_uid else USER
    writable = _written(settings)
    text = _set(text, "User", user)
    text = _set(text, "ReadWritePaths", " ".join(_quoted(str(each)) for each in writable))
    inside = [*places, *writable, Path(sys.executable).resolve()]  # a venv's interpreter may lie elsewhere
    if any(each.is_relative_to(home) for each in inside for home in _HOMES):
        text = _set(text, "ProtectHome", "read-only")
    if any(each.is_relative_to(place) for each in inside for place in ("/tmp", "/var/tmp")):  # noqa: S108
        text = _set(text, "PrivateTmp", "no")
    if group := _shared_with(user, spool.st_gid):
        text = _set(text, "User", f"{user}\nSupplementaryGroups={group}")
    path = dotenv.with_name(NAME)
    new = not _is_user(user)
    commands = (
        *([f"sudo useradd --system --user-group {user}"] if new else []),
        *([f"sudo chown -R {user} {_shell(writable)} {_shell([dotenv])}"] if user == USER else []),
        f"sudo install -m 644 {_shell([path])} /etc/systemd/system/{NAME}",
        "sudo systemctl daemon-reload && sudo systemctl enable --now spoolbridge",
    )
    return Unit("system", path, text, commands)


def _written(settings: Settings) -> list[Path]:
    """The directories that the service writes to, the inner ones left out."""
    places = [settings.spool, settings.inbox.parent, *([settings.town] if settings.town else [])]
    unique = list(dict.fromkeys(places))
    return [each for each in unique if not any(each != one and each.is_relative_to(one) for one in unique)]


def _directory(settings: Settings, dotenv: Path, cwd: Path) -> Path:
    """Where the service finds the same settings as this program here."""
    at_home = settings.town is None or dotenv.parent == cwd or (cwd / "spoolbridge.toml").is_file()
    return cwd if at_home else settings.town or cwd


def _environment(settings: Settings) -> dict[str, str]:
    """What this program was told by its environment, and the service would not be."""
    ours = settings.environment
    said = {name: ours[name] for name in KEYS if ours.get(name, "").strip()}
    for name in ("spool", "channels", "inbox"):  # which may be relative to where we are
        if f"SPOOLBRIDGE_{name.upper()}" in said:
            said[f"SPOOLBRIDGE_{name.upper()}"] = str(getattr(settings, name))
    if settings.town:
        said |= {"GT_TOWN_ROOT": str(settings.town)}
        said |= {"PATH": ours["PATH"]} if settings.gt != "off" and ours.get("PATH") else {}
    return said


def _set(text: str, key: str, value: str) -> str:
    changed, count = re.subn(rf"(?m)^{key}=.*$", lambda _: f"{key}={value}", text)
    assert count == 1, key
    return changed


def _escaped(text: str) -> str:
    if not text.isprintable():
        raise SettingsError(f"{text!r} cannot stand in a unit", "choose a plain path")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a unit's line (systemd.syntax(7)); what is plain stays as it is."""
    escaped = _escaped(text)
    if re.fullmatch(r"[\w./=:,@%+*-]+", escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shell(paths: Iterable[Path]) -> str:
    import shlex

    return shlex.join(map(str, paths))


def _shared_with(user: str, group: int) -> str:
    """The group of the spool, where it is not the user's own anyway."""
    import grp

    try:
        if not group or pwd.getpwnam(user).pw_gid == group:
            return ""
        return grp.getgrgid(group).gr_name
    except KeyError:
        return ""


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return name.isdigit()
    return True


def _name_of(user: int) -> str:
    """The user's name; a container's need not have one, and systemd takes the number as well."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
