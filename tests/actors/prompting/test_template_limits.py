"""A template that never ends, or takes the machine with it, is cut off; nothing else notices."""

import signal

import pytest

from thespis.actors.prompting import template
from thespis.actors.prompting.prompt import TEMPLATE_TOO_SLOW
from thespis.actors.prompting.template import RENDERING_ERRORS, TemplateTooSlow, compile_template
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Text

from ..preprocessor.parts import load

LOOP = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = b %}{% endfor %}{% endfor %}"
)


def test_S43_a_template_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "CPU_SECONDS", 0.1)
    before = signal.getsignal(signal.SIGPROF)
    with pytest.raises(TemplateTooSlow):
        compile_template(LOOP).render()
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_S43_more_roles_than_can_be_looked_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of their own, none of which the template writes; their names stand in a text, so that
    every one is found, the first one last."""
    roles = [f"r{number}" for number in range(40_000)]
    said = " ".join(reversed(roles))
    messages = [ChatMessage("user", (Text(said),)), *(ChatMessage(role, ()) for role in roles)]
    renderer = load(demo_model()).renderer("{{ messages[0]['content'] }}")
    monkeypatch.setattr(template, "CPU_SECONDS", 0.2)
    with pytest.raises(RequestError) as refused:
        renderer.render(ChatPrompt(tuple(messages)), ())
    assert refused.value.failure == TEMPLATE_TOO_SLOW


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10 ** 10 }}",
        "{{ ([1] * 999999999)|length }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ [][3] }}{{ {}.a.b }}",
    ],
)
def test_S43_what_no_time_limit_reaches_is_refused(source: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 — of several kinds, all of them known
        compile_template(source).render()
    assert isinstance(raised.value, RENDERING_ERRORS)


def test_ordinary_sums_are_as_ever() -> None:
    assert (
        compile_template("{{ '-' * 3 }} {{ 6 * 7 }} {{ 2 ** 5 }} {{ '%02d' % 4 }}").render()
        == "--- 42 32 04"
    )
