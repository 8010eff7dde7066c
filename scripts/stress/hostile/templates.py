"""Chat templates that a request brings: each asks Jinja for far too much, or for what it must not
have."""

from random import Random

from .shot import CHAT, TOKENIZE, Shot, chat, post

_COSTLY = (
    "{{ '%%%dd'|format(1) }}",
    "{{ '{:%dd}'.format(1) }}",
    "{{ '{:>%d}'.format('a') }}",
    "{{ 'a' * %d }}",
    "{{ ([0] * %d)|length }}",
    "{{ 'a'|center(%d) }}",
    "{{ 'a'.ljust(%d) }}",
    "{{ '1'.zfill(%d) }}",
    "{{ '\\t'.expandtabs(%d) }}",
    "{{ 'a'|indent(%d) }}",
    "{{ messages|tojson(indent=%d) }}",
    "{{ 'a b c'|wordwrap(1, wrapstring='x' * %d) }}",
    "{{ ('a' * 5000)|replace('a', 'b' * %d) }}",
    "{{ range(%d)|list|length }}",
    "{{ range(%d)|sum }}",
    "{{ range(%d)|join }}",
    "{{ range(%d)|map('string')|sort|length }}",
    "{{ range(%d)|batch(2)|list|length }}",
    "{{ range(10)|slice(%d)|list|length }}",
    "{{ range(%d)|random }}",
    "{{ range(%d)|groupby('real')|list|length }}",
    "{{ range(%d)|unique|list|length }}",
    "{{ lipsum(n=%d) }}",
    "{{ 7 ** %d }}",
    "{{ (7 ** %d)|string|length }}",
    "{{ 1.0|round(%d) }}",
    "{{ 'a'|truncate(%d) }}",
    "{{ 'http://a.b ' * %d | urlize }}",
    "{%% for a in range(%d) %%}x{%% endfor %%}",
    "{%% for a in range(%d) %%}{%% for b in range(100000) %%}{%% endfor %%}{%% endfor %%}",
    "{%% for a in range(%d) %%}{{ messages }}{%% endfor %%}",
    "{%% set ns = namespace(x='a') %%}{%% for a in range(%d) %%}{%% set ns.x = ns.x + ns.x "
    "%%}{%% endfor %%}{{ ns.x|length }}",
    "{%% set ns = namespace(x=[]) %%}{%% for a in range(%d) %%}{%% set ns.x = [ns.x, ns.x] "
    "%%}{%% endfor %%}{{ ns.x }}",
    "{%% macro m(n) %%}{{ m(n - 1) if n else '' }}{{ m(n - 1) if n else '' }}{%% endmacro %%}{{ "
    "m(%d) }}",
    "{{ strftime_now('%%%%Y' * %d) }}",
    "{{ strftime_now('%%%%%d') }}",
    "{{ raise_exception('x' * %d) }}",
    "{%% for m in messages * %d %%}{{ m.content }}{%% endfor %%}",
    "{{ ('(' * %d)|escape|length }}",
    "{{ ('a' * %d)|wordcount }}",
    "{{ ('ab' * %d).split('a')|length }}",
    "{{ ('a' * %d).translate({97: 'bbbb'}) }}",
)
_FORBIDDEN = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages.append }}{{ messages.append(messages) }}{{ messages }}",
    "{{ ''|attr('__class__') }}",
    "{{ lipsum.__globals__['os'].getcwd() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{{ (''|format).__func__ }}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{{ undefined.undefined.undefined }}",
    "{{ messages[10**9] }}",
    "{{ 1 // 0 }}",
    "{% set messages = 1 %}{{ messages.x() }}",
    "{{ raise_exception(messages) }}",
    "{{ raise_exception() }}",
    "{% generation %}a{% endgeneration %}",
    "{{ cycler() }}{{ joiner() }}{{ namespace() }}{{ range }}{{ dict }}{{ lipsum }}",
    "{{ '\\ud800' }}",
    "{{ messages|pprint }}{{ messages|xmlattr }}",
    "{% do messages.clear() %}",
    "{{ debug() }}{% debug %}",
    "{{ messages|map(attribute='__class__')|list }}",
)
_BROKEN = (
    "{{",
    "{%",
    "{% if %}",
    "{{ ]",
    "{% for %}",
    "{% endfor %}",
    "{{ 'a }}",
    "{# ",
    "\x00",
    "{{ a b c }}",
    "{{ 1 if }}",
    "",
)


def draw_templates(draw: Random, biggest: int) -> Shot:
    """A message that is long at times, as filters work on what they are given."""
    template = _template(draw, min(biggest, 4 << 20))
    words = "hi" if draw.random() < 0.8 else "a " * draw.choice((100, 10_000))
    path = draw.choice((CHAT, TOKENIZE))
    body = {**chat(words), "chat_template": template}
    if draw.random() < 0.2:
        body["chat_template_kwargs"] = {
            "x": draw.choice(([0] * 10_000, {"a": {"b": []}}, "{{ 7 * 7 }}", 1 << 70))
        }
    return post(f"template {template[:70]!r} in {path}", path, body)


def _template(draw: Random, most: int) -> str:
    match draw.randrange(10):
        case 0 | 1:
            return draw.choice(_FORBIDDEN)
        case 2:
            return draw.choice(_BROKEN) * draw.choice((1, 3, 1000))
        case 3:
            unit, closing = draw.choice(
                (
                    ("{{ (", ""),
                    ("{% if 1 %}", "{% endif %}"),
                    ("[", "]"),
                    ("{{ not ", " }}"),
                    ("-", "1"),
                )
            )
            depth = draw.choice((10, 50, 200, 3000, 50_000))
            inside = unit * depth + closing * depth
            return inside if "{" in unit else "{{ " + inside + " }}"
        case 4:
            return draw.choice(
                ("a", "{# x #}", "{{ 1 }}", "{% set a = 1 %}", "{{ messages }}")
            ) * draw.randint(1, most // 20)
        case _:
            return draw.choice(_COSTLY) % int(10 ** draw.uniform(1, 10))
