"""Vectors pass unchanged, and end their request as text does."""

from thespis.actors.detokenizer.sessions import Sessions
from thespis.actors.detokenizer.vocabulary import Vocabulary
from thespis.protocol.edges.detokenizer_to_client import Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Close, Open, Usage, Vectors
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.requests.sampling import SamplingParams

from .vocabularies import byte_level

VECTORS = Vectors("v", 0, 1, b"\x00\x00\x80\x3f")
CLOSE = Close("v", 0, Usage(3, 0, {}, 0), ())


def opened() -> Sessions:
    sessions = Sessions(Vocabulary(byte_level()), ())
    sessions.handle(
        Open("v", 0, "client-a", SamplingParams(max_tokens=1), (1, 2, 3), want="vector")
    )
    return sessions


def test_they_pass_and_the_request_is_finished() -> None:
    sessions = opened()
    assert sessions.handle(VECTORS) == [("client-a", VECTORS)]
    ((client, finished),) = sessions.handle(CLOSE)
    assert client == "client-a"
    assert finished == Finished("v", 0, CLOSE.usage, 0, ())
    assert len(sessions) == 0


def test_without_them_it_has_not_ended_well() -> None:
    ((_, failed),) = opened().handle(CLOSE)
    assert isinstance(failed, RequestFailed)


def test_those_of_another_attempt_go_nowhere() -> None:
    assert opened().handle(Vectors("v", 1, 1, b"1234")) == []
