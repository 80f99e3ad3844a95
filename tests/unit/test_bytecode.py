"""What is compiled before the workers begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import bytecode

_BODY = 'import os\n\nos.mkdir("ran")\nassert 1 + 1 == 2\n'


@pytest.mark.parametrize("name, kept", [("test_it.py", "test_it.*-pytest-*"), ("it.py", "it.cpython-*")])
def test_a_file_is_compiled_and_not_run(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, name: str, kept: str
) -> None:
    """As whoever loads it will look for it: pytest what has its asserts written anew, Python the rest."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / name).write_text(_BODY)
    bytecode.compiled([bytecode.found(pytestconfig.pluginmanager.rewrite_hook, tmp_path / name)])
    assert (1, False) == (len([*tmp_path.glob(f"__pycache__/{kept}")]), (tmp_path / "ran").exists())
