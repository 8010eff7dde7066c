"""One engine on the bundled model for all pages."""

from collections.abc import Iterator

import pytest

from ...helpers.serving import Server, served


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with served("") as server:
        yield server
