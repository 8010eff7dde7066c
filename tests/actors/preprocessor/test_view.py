"""What who watches is told of requests and items in the preprocessor."""

from thespis.actors.preprocessor import view
from thespis.actors.preprocessor.pending_request import PendingRequest
from thespis.actors.preprocessor.store import FeatureEntry, FeatureStore
from thespis.actors.prompting.prompt import Rendered
from thespis.gpu_runtime.processing import Part, ProcessedItem
from thespis.gpu_runtime.processing.types import Kind
from thespis.protocol.edges.view import MOST_PAST
from thespis.protocol.requests.prepared import Timing
from thespis.protocol.requests.request import MediaItem, Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams

from .parts import decoded

FETCHED = Timing("fetch", 1.0, 2.0)


def pending(id: str, items: int = 0) -> PendingRequest:
    media = tuple(MediaItem("image", None, "here", uuid=f"u{n}") for n in range(items))
    request = Request(
        id=id, client="client-a", arrival=0.5, prompt=TextPrompt("p"), media=media,
        sampling=SamplingParams(),
    )  # fmt: skip
    made = PendingRequest(request, False, Rendered([], "", {}), [FETCHED], request.sampling)
    made.entries = [None] * items
    return made


def entry(key: str, *kinds: Kind) -> FeatureEntry:
    parts = tuple(Part(kind, {}, 4, 1) for kind in kinds)
    return FeatureEntry(decoded(ProcessedItem("<i>", (4,) * len(kinds), parts), key), "w")


def test_requests_are_told_with_what_they_wait_for() -> None:
    waits, renders, checks, asks = pending("w", 2), pending("r"), pending("c"), pending("q")
    waits.entries[0] = entry("k", "image")
    renders.unrendered, checks.unchecked, asks.question = True, True, True
    told = view.seen([waits, renders, checks, asks], FeatureStore(1)).requests
    assert [(one.id, one.stage, one.done, one.of) for one in told] == [
        ("w", "media", 1, 2), ("r", "template", 0, 0), ("c", "grammar", 0, 0)
    ]  # fmt: skip
    assert (told[0].since, told[0].past, told[0].arrival) == (2.0, (FETCHED,), 0.5)


def test_of_a_request_with_a_thousand_items_the_first_and_last_stages_are_told() -> None:
    many = pending("m")
    many.timings += [Timing("decode", n, n + 1, "image") for n in range(1000)]
    (told,) = view.seen([many], FeatureStore(1)).requests
    assert len(told.past) == MOST_PAST
    assert (told.past[0], told.past[-1]) == (FETCHED, many.timings[-1])


def test_items_have_the_names_that_the_encoder_knows_them_by() -> None:
    store = FeatureStore(1 << 20)
    picture, film = entry("p", "image"), entry("f", "video", "audio")
    for one in (picture, film):
        store.add(one)
    picture.hits, picture.pins = 3, 1
    store.get("p")
    first, second = view.seen([], store).items
    assert (first.key, first.hits, first.holders) == (picture.decoded.parts[0].key, 3, 1)
    assert (first.modality, second.modality, second.key) == ("image", "video", "f")
