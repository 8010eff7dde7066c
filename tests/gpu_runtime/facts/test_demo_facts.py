from thespis.gpu_runtime.facts.model import model_facts
from thespis.protocol.checkpoint.folder import demo_model

from ...helpers.facts import DEMO


def test_what_is_written_down_of_the_bundled_model_is_what_is_found() -> None:
    assert model_facts(demo_model()) == DEMO
