"""One zygote for a module's tests; worlds made from it in milliseconds."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import pytest

from tests.crash.world import Zygote, zygote


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def forks(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    async with zygote(tmp_path_factory.mktemp("worlds")) as made:
        yield made


#: Read here, for no test inherits a setting.
_SEED = os.environ.get("SPOOLBRIDGE_TEST_SEED")


@pytest.fixture
def dice() -> random.Random:
    """For a bounded share of a sweep; the seed is printed with a failure and can be set."""
    seed = int(_SEED or random.randrange(2**32))
    print(f"SPOOLBRIDGE_TEST_SEED={seed}")
    return random.Random(seed)
