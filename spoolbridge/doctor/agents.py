"""What agents are told in `.mcp.json` files: of this bridge, so that it can start, and of nothing beside it.

Read are the files of the working directory, of the project and of the town. What stands in `env` is never
shown, for there may be a token in it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spoolbridge import settings as the_settings
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.findings import Finding
from spoolbridge.settings import TOKEN, Settings

FILE = ".mcp.json"
_PROGRAM = "spoolbridge"


class _Server(NamedTuple):
    file: Path
    name: str
    words: list[str]
    env: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name!r} of {self.file}"


def examine(settings: Settings) -> Iterator[Finding]:
    town = [settings.town, settings.town / "mayor"] if settings.town else []
    places = [place.resolve() for place in (Path.cwd(), settings.project, *town)]
    for path in dict.fromkeys(place / FILE for place in places):
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError):
            why = "agents get none of its tools"
            yield Finding("warning", f"{path} cannot be read as JSON", why, f"mend {path}")
            continue
        for server in _servers(path, found):
            if any(Path(word).name == _PROGRAM for word in server.words):
                yield from _ours(server, settings)
            elif _is_about_discord(server):
                why = "what it posts and reads is not in the spool: nothing is tried again or read once"
                do = "put the entry of contrib/mcp.json in its place"
                yield Finding("warning", f"{server} talks to Discord beside the bridge", why, do)


def _servers(path: Path, found: Any) -> Iterator[_Server]:
    servers = found.get("mcpServers") if isinstance(found, dict) else None
    for name, each in servers.items() if isinstance(servers, dict) else ():
        if isinstance(each, dict) and isinstance(each.get("command"), str):
            args, env = each.get("args"), each.get("env")
            words = [each["command"], *map(str, args if isinstance(args, list) else [])]
            pairs = env.items() if isinstance(env, dict) else ()
            yield _Server(path, name, words, {str(key): str(value) for key, value in pairs})


def _is_about_discord(server: _Server) -> bool:
    told = [server.name, *(Path(word).name for word in server.words)]
    return TOKEN in server.env or any("discord" in word.lower() for word in told)


def _ours(server: _Server, settings: Settings) -> Iterator[Finding]:
    if TOKEN in server.env:
        why = "the tools need none, and an agent that reads it can speak as the bot"
        yield Finding("warning", f"{server} holds the token", why, f"take {TOKEN} out of its env")
    if any("$" in each for each in (*server.words, *server.env.values())):
        return  # what the client makes of it, only the client knows
    environment = {**settings.environment, **server.env}
    command = server.words[0]
    beside = server.file.parent / command if os.sep in command else command
    if not shutil.which(beside, path=environment.get("PATH")):
        why = "agents get none of its tools"
        here = shutil.which(_PROGRAM) or "/the/whole/path/of/spoolbridge"
        what = f"{server} cannot be started: no {command!r}"
        yield Finding("error", what, why, f'write "command": {json.dumps(here)}')
        return
    try:
        spool = the_settings.load(dict(environment), server.file.parent, secrets=False).spool
    except SpoolbridgeError as error:
        yield Finding("error", f"{server} cannot be started: {error.what}", "agents get no tools", error.hint)
        return
    if spool.resolve() != settings.spool.resolve():
        what = f"{server} uses the spool {spool}, and not {settings.spool}"
        do = f'write "env": {{"SPOOLBRIDGE_SPOOL": {json.dumps(str(settings.spool))}}}'
        yield Finding("warning", what, "what its agents drop lies elsewhere", do)
