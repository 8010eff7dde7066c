"""Where the time went, by stage and by item."""

from thespis.frontends.client.timeline import ItemTimeline, StageTime, durations, timeline_of
from thespis.protocol.requests.prepared import ItemSource, Timing

PICTURE, CLIP = "messages[0].content[1]", "messages[2].content[0]"
TIMINGS = (
    Timing("fetch", 100.0, 100.2, "10 bytes", PICTURE),
    Timing("preprocess", 100.3, 100.31),
    Timing("decode", 100.31, 100.4, "image", PICTURE),
    Timing("decode", 99.5, 100.5, "video", CLIP),
    Timing("encode", 100.6, 100.7, "image, 4 rows", "key of the picture"),
    Timing("queue", 100.5, 100.55),
    Timing("prefill", 100.55, 100.8),
    Timing("decode", 100.8, 101.8),
)
SOURCES = (
    ItemSource(PICTURE, "image", ("key of the picture",), 10, False),
    ItemSource(CLIP, "video", ("key of the clip",), 0, True),
)


def test_stages_are_in_the_order_in_which_they_began() -> None:
    told = timeline_of(TIMINGS, SOURCES, 100.0)
    assert told.stages == (
        StageTime("fetch", 0.0, 0.2),
        StageTime("decode_media", 0.0, 0.5),
        StageTime("preprocess", 0.3, 0.01),
        StageTime("queue", 0.5, 0.05),
        StageTime("prefill", 0.55, 0.25),
        StageTime("encode", 0.6, 0.1),
        StageTime("decode", 0.8, 1.0),
    )


def test_each_item_has_its_own_stages_and_what_was_known_of_it() -> None:
    picture, clip = timeline_of(TIMINGS, SOURCES, 100.0).items
    assert picture == ItemTimeline(
        message=0,
        part=1,
        kind="image",
        hit=None,
        bytes=10,
        stages=(
            StageTime("fetch", 0.0, 0.2),
            StageTime("decode", 0.31, 0.09),
            StageTime("encode", 0.6, 0.1),
        ),
    )
    # Begun for another request, before this one had come.
    assert (clip.message, clip.hit, clip.stages) == (
        2,
        "embedding",
        (StageTime("decode", 0.0, 0.5),),
    )


def test_what_was_decoded_and_not_encoded_is_a_hit_of_its_features() -> None:
    source = ItemSource("prompt", "audio", ("k",), 7, True)
    (item,) = timeline_of((Timing("encode", 1.0, 2.0, "", "k"),), (source,), 0.0).items
    assert (item.hit, item.message, item.part) == ("features", None, None)


def test_durations_tell_media_and_tokens_apart() -> None:
    assert [name for name, _ in durations(TIMINGS)].count("decode_media") == 2
    assert [name for name, _ in durations(TIMINGS)].count("decode") == 1
