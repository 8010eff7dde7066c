"""One engine on the bundled model for all pages."""

import pytest

from ...helpers.serving import Server


@pytest.fixture(scope="session")
def server(demo: Server) -> Server:
    return demo
