"""Imports only go down. A new module fails here until it has a row: where it belongs is a decision."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "spoolbridge"

#: From the bottom: a module imports only from rows above its own in this list. Those of one row do not know
#: each other, which is what keeps dispatcher and poller apart. A package is one entry; inside it only cycles
#: are forbidden. "" is the package itself: its version.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "leaks",
        "errors outcome emoji atomic backoff identity metrics waiting turns rendering split schedule visits "
        "watcher systemd retention emulator",
        "dotenv channels ready handed first_start moves discord framing glances logbook",
        "settings",
        "header claim incoming cursor drop_box",
        "outgoing access journal_files standing",
        "history",
        "journal choices",
        "spool deliveries mail readback guild threads attached_files role_names hints troubles",
        "intake lock census failures inbox sending sharing units tries evidence places secrecy holds "
        "happenings incoming_file inbox_file mail_files gt attachments receipts",
        "posting clerk status arrivals asks archive chronicle prunable",
        "scope findings prune",
        "gt_mail town notices dispatcher poller comparison doctor asker installation",
        "post_office",
        "parts",
        "bulletin pulse",
        "service audit page",
        "mcp_server demo",
        "cli",
    )
)

#: Narrower than their rows: all that these may import of ours.
ONLY = {"discord": {"", "emoji", "errors", "outcome"}, "emulator": set[str]()}
#: And all that may import these.
ONLY_BY = {
    "emulator": {"demo", "cli"}, "cli": set[str](), "service": {"demo", "cli"}, "page": {"demo", "cli"}
}  # fmt: skip

#: What starts slowly, and must not be waited for by an agent that sends a line (`sending`'s promise).
SLOW = {"aiohttp", "mcp", "watchdog", "pydantic", "asyncio", "prometheus_client"}

Graph = dict[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Dotted name below the package → file; "" is the package itself."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def graph(package: Path) -> Graph:
    """Module → the modules of the package that it imports, anywhere in it, under TYPE_CHECKING too."""
    known = modules(package)
    found: Graph = {}
    for name, path in known.items():
        # `from spoolbridge import x` is an import of the module x, or else of what the package itself holds.
        either = [
            [each for each in choices if each in known][:1] for choices in _imports(name, path, package.name)
        ]
        found[name] = {each for first in either for each in first} - {name}
    return found


def _imports(name: str, path: Path, package: str) -> Iterator[list[str]]:
    """For each name imported from the package: what it may be, the likeliest first."""
    around = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            dotted = [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = [package, *filter(None, around.split("."))]
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            dotted = [[f"{base}.{alias.name}", base] for alias in node.names]
        else:
            continue
        for choices in dotted:
            if choices[-1] == package or choices[-1].startswith(f"{package}."):
                yield [each.removeprefix(package).removeprefix(".") for each in choices]


def top(module: str) -> str:
    """The row's word for a module: a package as a whole."""
    return module.partition(".")[0]


def violations(
    found: Graph,
    rows: tuple[frozenset[str], ...],
    only: Mapping[str, set[str]],
    only_by: Mapping[str, set[str]],
) -> list[str]:
    """What is wrong, a sentence each."""
    level = {name: number for number, row in enumerate(rows, 1) for name in row} | {"": 0}
    told = []
    for module, imported in sorted(found.items()):
        for other in sorted(imported):
            here, there = top(module), top(other)
            if here == there or here not in level or there not in level:
                continue
            if level[there] >= level[here]:
                told.append(f"{module} imports {other}, which is not below it")
            if here in only and there not in only[here]:
                told.append(f"{module} imports {other}, and may not")
            if here not in only_by.get(there, {here}):
                told.append(f"{module} imports {other}, which is not its business")
    return told


def cycle(found: Graph) -> list[str]:
    """The modules of one import cycle; empty: there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for other in sorted(found[module] - {""}):
            if circle := walk(other, [*path, module]):
                return circle
        done.add(module)
        return []

    return next(filter(None, (walk(module, []) for module in sorted(found))), [])


def names_of_the_environment(path: Path) -> list[str]:
    """Where a file reaches for the environment: os.environ, os.getenv and their kin, however imported."""
    reaching = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            found += [f"line {node.lineno}: os.{node.attr}"] if node.attr in reaching else []
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [f"line {node.lineno}: {each.name}" for each in node.names if each.name in reaching]
    return found


class TestThisPackage:
    """spoolbridge as it is."""

    def test_every_module_has_a_row(self) -> None:
        """Exactly one."""
        placed = sorted(name for row in ROWS for name in row)
        assert sorted(set(placed)) == placed, "a module stands in two rows"
        assert sorted({top(each) for each in modules(PACKAGE)} - {""}) == placed

    def test_imports_go_down(self) -> None:
        """Every one of them."""
        assert [] == violations(graph(PACKAGE), ROWS, ONLY, ONLY_BY)

    def test_no_cycle(self) -> None:
        """Not inside a package either."""
        assert [] == cycle(graph(PACKAGE))

    def test_something_was_read(self) -> None:
        """The edges that the design is made of are there: else the two above prove nothing."""
        found = graph(PACKAGE)
        for module, other in (
            ("intake", "claim"),
            ("claim", "atomic"),
            ("dispatcher", "posting"),
            ("poller", "deliveries"),
            ("service", "dispatcher"),
            ("discord.client", "discord.answers"),
        ):
            assert other in found[module]
        assert 50 < len(found)

    def test_only_settings_reads_the_environment(self) -> None:
        """So that what is set is known in one place, and the token leaves it nowhere else."""
        reaching = {name: names_of_the_environment(path) for name, path in modules(PACKAGE).items()}
        assert ["settings"] == [name for name, found in reaching.items() if found]

    @pytest.mark.parametrize("module", ["sending", "spool", "cli.plain"])
    def test_what_an_agent_waits_for_starts_quickly(self, module: str) -> None:
        """Loaded for real, in a process of its own."""
        script = f"import sys, spoolbridge.{module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        assert "" == done.stderr
        loaded = set(done.stdout.split())
        assert f"spoolbridge.{module}" in loaded
        assert set() == SLOW & loaded

    def test_a_service_without_a_page_loads_nothing_of_it(self) -> None:
        """It runs for months on small machines, most of them without anybody who looks."""
        script = "import sys, spoolbridge.service; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        loaded = set(done.stdout.split())
        assert "spoolbridge.metrics" in loaded
        assert set() == {"aiohttp.web", "prometheus_client", "spoolbridge.page"} & loaded


class TestTheTest:
    """It is no guard if it cannot bark."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        for name, text in {
            "__init__.py": "__version__ = '1'",
            "low.py": "import os",
            "middle.py": "from pkg import low\nfrom pkg.low import x",
            "beside.py": "from pkg import __version__",
            "high.py": "import pkg.middle",
            "sealed/__init__.py": "",
            "sealed/a.py": "from pkg.sealed import b",
            "sealed/b.py": "",
        }.items():
            (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pkg" / name).write_text(text)
        return tmp_path / "pkg"

    rows = (frozenset({"low", "sealed"}), frozenset({"middle", "beside"}), frozenset({"high"}))

    def wrong(self, package: Path) -> list[str]:
        return violations(graph(package), self.rows, {"sealed": set()}, {"sealed": {"high"}})

    def test_what_is_right(self, package: Path) -> None:
        """Nothing to say."""
        assert [] == self.wrong(package)
        assert [] == cycle(graph(package))

    @pytest.mark.parametrize(
        ("module", "text", "said"),
        [
            ("low", "from pkg import high", "low imports high, which is not below it"),
            ("low", "import pkg.high as x", "low imports high, which is not below it"),
            ("low", "from pkg.high import x", "low imports high, which is not below it"),
            ("low", "from . import high", "low imports high, which is not below it"),
            ("low", "from .high import x", "low imports high, which is not below it"),
            (
                "middle",
                "def f():\n    from pkg import beside",
                "middle imports beside, which is not below it",
            ),
            (
                "middle",
                "if TYPE_CHECKING:\n    import pkg.high",
                "middle imports high, which is not below it",
            ),
            ("middle", "from pkg.sealed.b import x", "middle imports sealed.b, which is not its business"),
            ("sealed/b", "from .. import low", "sealed.b imports low, which is not below it"),
            ("sealed/b", "from ..low import x", "sealed.b imports low, and may not"),
            ("sealed/b", "from pkg import __version__", "sealed.b imports , and may not"),
        ],
    )
    def test_what_is_wrong(self, module: str, text: str, said: str, package: Path) -> None:
        """However it is written."""
        (package / f"{module}.py").write_text(text)
        assert said in self.wrong(package)

    def test_a_cycle_in_a_package(self, package: Path) -> None:
        """Is found although no row forbids it."""
        (package / "sealed" / "b.py").write_text("from pkg.sealed.a import x")
        assert ["sealed.a", "sealed.b"] == sorted(cycle(graph(package)))

    @pytest.mark.parametrize(
        "text",
        ["import os\nos.environ['X']", "import os\nos.getenv('X')", "from os import environ", "os.environb"],
    )
    def test_the_environment(self, text: str, tmp_path: Path) -> None:
        """Reached for in any way."""
        (tmp_path / "x.py").write_text(text)
        assert 1 == len(names_of_the_environment(tmp_path / "x.py"))
