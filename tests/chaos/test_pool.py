"""The requests of a campaign: drawn from the seed alone, and contents that several share."""

from collections import defaultdict

from thespis.scripts.stress.pool import make_pool


def test_the_seed_decides() -> None:
    assert make_pool(3, 100, 250) == make_pool(3, 100, 250)
    assert make_pool(3, 100, 250) != make_pool(4, 100, 250)
    assert len({ask.name for ask in make_pool(3, 100, 250)}) == 28


def test_each_kind_of_content_comes_by_url_here_and_inline_there_and_one_under_an_id() -> None:
    ways: defaultdict[str, set[str]] = defaultdict(set)
    for ask in make_pool(3, 100, 250):
        if len(ask.case.shown) == 1:
            (part, _), (shown,) = ask.messages("http://here")[-1]["content"], ask.case.shown
            url = part[part["type"]]["url"]
            assert ask.by_url == (url == f"http://here/{shown.kind}/{shown.seed}")
            ways[f"{shown.kind} {shown.seed}"].add(
                "url" if ask.by_url else "inline with an id" if "uuid" in part else "inline"
            )
    shared = {shown.split()[0]: how for shown, how in ways.items() if len(how) > 1}
    assert shared == {
        "image": {"url", "inline", "inline with an id"},
        "audio": {"url", "inline"},
        "video": {"url", "inline"},
    }
