"""The measurements run, and their figures are of what they say: a look at a share of the work."""

from __future__ import annotations

import shutil

import pytest

from spoolbridge import ready
from spoolbridge.discord.ratelimit import PER_SECOND
from tests.bench import idle, polling
from tests.bench.__main__ import MEASUREMENTS, main
from tests.bench.table import Table


def test_pacing() -> None:
    """Each client does each work to its end; ours earns no 429, and the other one's are seen."""
    table = MEASUREMENTS["pacing"](0.1)
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    works = ["40 × 5", "1 × 10", "200 × 1"]
    assert [work for work in works for _ in range(2)] == [row["messages"] for row in rows]
    assert {("0", "kept")} == {(row["lost"], row["order"]) for row in rows}
    ours, others = rows[::2], rows[1::2]
    assert {("spoolbridge", "0", "0")} == {(row["client"], row["429s"], row["given up"]) for row in ours}
    assert max(float(row["ratio"]) for row in ours) <= 1.05
    assert sum(int(row["429s"]) for row in others) > 0


def rows(name: str, scale: float) -> list[dict[str, str]]:
    """A measurement's rows, by the head of each column."""
    table = MEASUREMENTS[name](scale)
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


def figure(cell: str) -> float:
    """The median of a cell that says how it is spread."""
    return float(cell.partition(" ")[0])


def test_burst() -> None:
    """Everybody's messages arrive once (else it raises); ours are synced, and never on the loop's thread."""
    found = rows("burst", 0.01)
    assert ["raw", "spoolbridge", "discord.py", "a"] == [each["who"].partition(" ")[0] for each in found]
    assert all(figure(each["messages/s"]) > 0 and figure(each["CPU µs"]) > 0 for each in found)
    assert "1.000 (1.000–1.000)" == found[0]["of the reference"]
    if shutil.which("strace"):
        assert ("0.0", True) == (found[1]["on the loop"], 4 < float(found[1]["fsyncs"]) < 12)


def test_latency() -> None:
    """Every way in leads to the wire; a plain name waits until it has settled."""
    found = {each["way in"]: each for each in rows("latency", 0.01)}
    mcp = {"MCP tool", "MCP tool, SDK client"}
    assert {"rename, ID form", *mcp, "echo", "spoolbridge send"} == found.keys()
    assert {"3"} == {each["messages"] for each in found.values()}
    # The shell takes a moment to end behind its writing, and times of files tick in steps of 4 ms.
    assert float(found["echo"]["p50 ms"]) >= 0.9 * ready.SETTLE * 1000


def test_backlog() -> None:
    """Each begins to go out, at Discord's pace and not at the one of a burst."""
    found = rows("backlog", 0.005)
    cases = [(each["waiting"], each["sent before"]) for each in found]
    assert [("100", "0"), ("500", "0"), ("100", "500")] == cases
    assert all(0 < float(each["posts/s"]) < 2 * PER_SECOND for each in found)


def test_inbound() -> None:
    """All that was said is filed, once (else it raises)."""
    (found,) = rows("inbound", 0.01)
    assert ("50", "50", True) == (found["messages"], found["channels"], figure(found["filed/s"]) > 0)


def test_idle() -> None:
    """A service that has nothing to do takes something, and less than a core."""
    found = dict(zip(idle.HEAD, idle.row(20, "mayor-*", 1.0), strict=True))
    assert ("20", "all") == (found["channels"], found["polled"])
    assert 0 < float(found["% of a core"]) < 100
    assert float(found["MiB"]) > 10


def test_growth() -> None:
    """The curve has a point for each number of messages, and each of them arrived once (else it raises)."""
    found = rows("growth", 0.001)
    assert ["100"] == [each["messages"] for each in found]


def test_start() -> None:
    """Nothing of ours starts faster than Python."""
    found = {each["what"]: figure(each["in bare interpreters"]) for each in rows("start", 0.01)}
    assert {"a bare interpreter", "spoolbridge send", "the MCP server"} == found.keys()
    assert found["a bare interpreter"] == 1 < found["the MCP server"]


def test_polling() -> None:
    """The guild is asked and not each channel, and what is said is filed."""
    found = dict(zip(polling.HEAD, polling.row(10, 2.5, 1, SPOOLBRIDGE_POLL_INTERVAL="1"), strict=True))
    assert ("10", True) == (found["channels"], 0 < float(found["requests/s"]) < 10)
    assert float(found["lag s, worst"]) > 0


def test_a_table_is_read_in_columns() -> None:
    """Words to the left, figures to the right, the note below."""
    table = Table("Speed", ["who", "s"], [["a", "1.5"], ["someone", "10.25"]], "All of it.")
    lines = ["Speed", "", "who          s", "-------  -----", "a          1.5", "someone  10.25", ""]
    assert [*lines, "All of it."] == str(table).splitlines()


def test_a_measurement_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with those that are, and nothing is measured."""
    with pytest.raises(SystemExit) as ended:
        main(["pacing", "throughput"])
    shown = capsys.readouterr()
    assert (2, "", True) == (ended.value.code, shown.out, "'throughput'; there are burst," in shown.err)
