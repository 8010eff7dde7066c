"""Where items lie in a prompt: in texts, among a caller's token ids, with or without their whole
runs."""

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from thespis.actors.prompting.splice import Insert, Laid, Queues, Run, Splicer
from thespis.actors.prompting.tokens import TextTokenizer, mark_texts
from thespis.protocol.errors import RequestError
from thespis.protocol.facts import PlaceholderFacts
from thespis.protocol.requests.prepared import Span
from thespis.protocol.requests.request import Modality

WORDS = {
    word: number for number, word in enumerate(["[UNK]", "a", "b", "c", "\n", "see", "0", "1"])
}
IMAGE, VIDEO, SOUND, ROW, MARK = 90, 91, 92, 93, 94
OUTSIDE = 5000
"""Far beyond the model's table."""


def one(token: str, number: int) -> PlaceholderFacts:
    return PlaceholderFacts(token=token, text=token, embed_token=token, embed_token_id=number)


PLAIN: dict[Modality, PlaceholderFacts] = {
    "image": one("<i>", IMAGE),
    "video": one("<v>", VIDEO),
    "audio": one("<s>", SOUND),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of whole words, with tokens of its own for pictures, clips and sounds."""
    made = Tokenizer(
        models.WordLevel({**WORDS, **{f"[{n}]": n for n in range(8, 90)}}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(
        [AddedToken(token, normalized=False) for token in ("<i>", "<v>", "<s>", "<row>", "<mark>")]
    )
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    made.save(str(path))
    return path


def splicer_of(file: Path, placeholders: dict[Modality, PlaceholderFacts] = PLAIN) -> Splicer:
    texts = [
        text
        for place in placeholders.values()
        for text in (place.token, place.embed_token, *place.marks)
    ]
    return Splicer(placeholders, TextTokenizer(Tokenizer.from_file(str(file)), {}, texts))


def insert(index: int, token: int, *lengths: int, text: str = "", number: str = "") -> Insert:
    spelled = {IMAGE: "<i>", VIDEO: "<v>", SOUND: "<s>", ROW: "<row>"}[token]
    return Insert(
        index, text or spelled, tuple(Run(token, token, length) for length in lengths), number
    )


def spans(laid: Laid) -> dict[int, list[tuple[int, int]]]:
    return {item.index: [(span.start, span.length) for span in runs] for item, runs in laid.placed}


def test_items_of_two_kinds_in_a_text(file: Path) -> None:
    laid = splicer_of(file).lay_text(
        "a <i> b <s> <i>",
        False,
        False,
        {"image": [insert(0, IMAGE, 2), insert(2, IMAGE, 1)], "audio": [insert(1, SOUND, 3)]},
    )
    assert laid.token_ids == [1, IMAGE, IMAGE, 2, SOUND, SOUND, SOUND, IMAGE]
    assert spans(laid) == {0: [(1, 2)], 1: [(4, 3)], 2: [(7, 1)]}


def test_an_item_of_several_runs_with_marks_between(file: Path) -> None:
    text = "<mark> see <i> b <i> <mark>"
    laid = splicer_of(file).lay_text(
        "a <i> c <i>",
        False,
        False,
        {"image": [insert(0, IMAGE, 2, 3, text=text), insert(1, IMAGE, 1)]},
    )
    assert laid.token_ids == [1, 94, 5, IMAGE, IMAGE, 2, IMAGE, IMAGE, IMAGE, 94, 3, IMAGE]
    assert spans(laid) == {0: [(3, 2), (6, 3)], 1: [(11, 1)]}


def test_words_of_a_caller_are_no_place_and_take_none(file: Path) -> None:
    splicer = splicer_of(file)
    control = splicer._tokenizer.control_tokens("", frozenset({"<i>"}))
    (words,) = mark_texts(["<i> see"], control)
    text = f"{words} <i>"
    assert splicer.in_text(text) == {"image": 1}
    laid = splicer.lay_text(text, True, False, {"image": [insert(0, IMAGE, 2)]})
    assert laid.token_ids[-2:] == [IMAGE, IMAGE]
    assert spans(laid) == {0: [(len(laid.token_ids) - 2, 2)]}


def test_rows_and_placeholder_have_tokens_of_their_own(file: Path) -> None:
    """The placeholder may stand in the run again: it is looked for once."""
    places: dict[Modality, PlaceholderFacts] = {
        "image": PlaceholderFacts(token="<i>", text="<i>", embed_token="<row>", embed_token_id=ROW)
    }
    laid = splicer_of(file, places).lay_text(
        "a <i> b <i>",
        False,
        False,
        {"image": [insert(0, ROW, 2, text="<i> <row>"), insert(1, ROW, 1, text="<row>")]},
    )
    assert laid.token_ids == [1, IMAGE, ROW, ROW, 2, ROW]
    assert spans(laid) == {0: [(2, 2)], 1: [(5, 1)]}


def test_a_models_numbers_come_first(file: Path) -> None:
    laid = splicer_of(file).lay_text(
        "<i> <i>",
        False,
        False,
        {"image": [insert(0, IMAGE, 1, number="see 0 "), insert(1, IMAGE, 2, number="see 1 ")]},
    )
    assert laid.token_ids == [5, 6, IMAGE, 5, 7, IMAGE, IMAGE]


@pytest.mark.parametrize("token", ["<nobody's>", "<v>"])
def test_Q10_a_token_outside_of_every_table(file: Path, token: str) -> None:
    """Neither tokenizer nor model need have it: its id is what the configuration says, and its
    places are right."""
    places: dict[Modality, PlaceholderFacts] = {"audio": one(token, OUTSIDE)}
    splicer = splicer_of(file, places)
    run = splicer.runs(f"see {token} b", [3], [OUTSIDE])
    queues: Queues = {"audio": [Insert(0, f"see {token} b", run)]}
    for laid in (
        splicer.lay_text(f"a {token} c", False, False, queues),
        splicer.lay_ids([1, OUTSIDE, 3], queues),
    ):
        assert laid.token_ids == [1, 5, OUTSIDE, OUTSIDE, OUTSIDE, 2, 3]
        assert spans(laid) == {0: [(2, 3)]}
    assert splicer.in_text(f"a {token}") == {"audio": 1}
    assert splicer.spoken(splicer._tokenizer.encode(f"a {token}", False))[0] == 1
    assert OUTSIDE in splicer.spoken_ids


def test_runs_of_two_parts(file: Path) -> None:
    run = splicer_of(file).runs("<mark> <v> <s> <v> <mark>", [4, 2, 4], [VIDEO, SOUND])
    assert [(r.token_id, r.length, r.part) for r in run] == [
        (VIDEO, 4, 0),
        (SOUND, 2, 1),
        (VIDEO, 4, 0),
    ]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        splicer_of(file).runs("<v>", [4, 2], [VIDEO])


# a caller's own token ids


def test_ids_name_items_by_one_token(file: Path) -> None:
    text = "<mark> <i> b <i>"
    laid = splicer_of(file).lay_ids(
        [1, IMAGE, 2, SOUND],
        {"image": [insert(0, IMAGE, 2, 1, text=text)], "audio": [insert(1, SOUND, 2)]},
    )
    assert laid.token_ids == [1, 94, IMAGE, IMAGE, 2, IMAGE, 2, SOUND, SOUND]
    assert spans(laid) == {0: [(2, 2), (5, 1)], 1: [(7, 2)]}


def test_whole_runs_are_taken_as_they_are(file: Path) -> None:
    laid = splicer_of(file).lay_ids(
        [1, IMAGE, IMAGE, IMAGE, 2], {"image": [insert(0, IMAGE, 2), insert(1, IMAGE, 1)]}
    )
    assert laid.token_ids == [1, IMAGE, IMAGE, IMAGE, 2]
    assert spans(laid) == {0: [(1, 2)], 1: [(3, 1)]}


def test_whole_runs_with_marks_between(file: Path) -> None:
    """Also where the placeholder stands before the rows: it is not replaced again."""
    places: dict[Modality, PlaceholderFacts] = {
        "image": PlaceholderFacts(token="<i>", text="<i>", embed_token="<row>", embed_token_id=ROW)
    }
    ids = [1, IMAGE, ROW, ROW, 4, ROW, 2]
    laid = splicer_of(file, places).lay_ids(
        ids, {"image": [insert(0, ROW, 2, 1, text="<i> <row> \n <row>")]}
    )
    assert laid.token_ids == ids
    assert spans(laid) == {0: [(2, 2), (5, 1)]}


def test_marks_that_are_rows_are_runs_of_one(file: Path) -> None:
    """Ovis2: all of an item's run is its embedding; a mark that is no item's is told, as a row
    would be."""
    facts = PlaceholderFacts(
        token="<i>", text="<i>", embed_token="<row>", embed_token_id=ROW, marks={"<mark>": MARK}
    )
    splicer = splicer_of(file, {"image": facts})
    text = "<mark> <row> <mark> <row> <mark>"
    queues: Queues = {"image": [Insert(0, text, splicer.runs(text, [1, 2, 1, 3, 1], [ROW]))]}
    ids = [1, MARK, ROW, ROW, MARK, ROW, ROW, ROW, MARK, 2]
    for laid in (splicer.lay_text("a <i> b", False, False, queues), splicer.lay_ids(ids, queues)):
        assert laid.token_ids == ids
        assert spans(laid) == {0: [(1, 1), (2, 2), (4, 1), (5, 3), (8, 1)]}
    with pytest.raises(RequestError, match="Found more '<mark>' placeholders"):
        splicer.lay_text("<mark> a <i>", False, False, queues)


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [
        ([IMAGE] * 4, [[3]]),
        ([IMAGE, IMAGE, 5, IMAGE], [[3]]),
        ([IMAGE] * 4, [[4], [1], [1]]),
        ([IMAGE, IMAGE, 5, IMAGE], [[2, 2]]),
        ([IMAGE] * 3, [[2], [2]]),
    ],
)
def test_runs_of_other_lengths_are_refused(
    file: Path, ids: list[int], lengths: list[list[int]]
) -> None:
    queue = [insert(index, IMAGE, *each) for index, each in enumerate(lengths)]
    with pytest.raises(
        RequestError, match=r"has not the length of its item|Found more '<i>' placeholders"
    ):
        splicer_of(file).lay_ids(ids, {"image": queue})


def test_a_clip_with_its_sound_is_named_by_one_placeholder(file: Path) -> None:
    heard = Insert(0, "<v> <s>", (Run(VIDEO, VIDEO, 2, 0), Run(SOUND, SOUND, 1, 1)))
    assert spans(splicer_of(file).lay_ids([VIDEO], {"video": [heard]})) == {0: [(0, 2), (2, 1)]}
    with pytest.raises(RequestError, match="is named by one placeholder"):
        splicer_of(file).lay_ids([VIDEO, VIDEO, SOUND], {"video": [heard]})


def test_what_names_items_among_ids_is_counted(file: Path) -> None:
    splicer = splicer_of(file)
    assert splicer.in_ids([1, IMAGE, 2, IMAGE, SOUND], {}) == {"image": 2, "audio": 1, "video": 0}
    places: dict[Modality, PlaceholderFacts] = {
        "image": PlaceholderFacts(token="<i>", text="<i>", embed_token="<row>", embed_token_id=ROW)
    }
    assert splicer_of(file, places).in_ids([ROW, ROW], {}) == {"image": 2}


def test_spans_are_of_the_prompt(file: Path) -> None:
    laid = splicer_of(file).lay_text("<i>", False, False, {"image": [insert(0, IMAGE, 2)]})
    assert laid.placed[0][1] == [Span(0, 2)]


NUMBERED: dict[Modality, PlaceholderFacts] = {
    "image": PlaceholderFacts(
        token="<i>",
        text="<i>",
        embed_token="<i>",
        embed_token_id=IMAGE,
        numbered="<i_{n}>",
        apart=True,
    )
}


def numbered(file: Path) -> Splicer:
    """Of a tokenizer that writes `a` before every text."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="a $A", special_tokens=[("a", 1)]
    )
    return Splicer(NUMBERED, TextTokenizer(tokenizer, {}, ["<i>"], numbered=["<i_{n}>"]))


def test_items_that_a_prompt_numbers_and_texts_each_for_itself(file: Path) -> None:
    queues: Queues = {"image": [insert(0, IMAGE, 2), insert(1, IMAGE, 1)]}
    splicer = numbered(file)
    assert splicer.in_text("b <i_1> c <i_2> <i_x>") == {"image": 2}
    laid = splicer.lay_text("b <i_1><i_2> c", False, True, queues)
    assert laid.token_ids == [1, 2, IMAGE, IMAGE, 1, IMAGE, 1, 3]
    assert spans(laid) == {0: [(2, 2)], 1: [(5, 1)]}
    assert splicer.lay_text("b <i> <i> c", False, False, queues).token_ids == [
        2,
        IMAGE,
        IMAGE,
        IMAGE,
        3,
    ]


@pytest.mark.parametrize(
    "text", ["<i_2> <i_1>", "<i_1> <i_1>", "<i_0>", "<i_01>", "<i> <i_1>", "<i_999999999>"]
)
def test_numbers_out_of_order_are_refused(text: str, file: Path) -> None:
    with pytest.raises(RequestError, match=r"'<i_\d+>' is not '<i_\d+>'"):
        numbered(file).in_text(text)


def test_a_number_in_a_callers_words_names_nothing(file: Path) -> None:
    splicer = numbered(file)
    control = splicer._tokenizer.control_tokens("", frozenset({"<i>"}))
    words = "".join(mark_texts(["<i_1> see <i", "_2> <i>"], control))
    assert splicer.in_text(f"{words} <i_1>") == {"image": 1}
