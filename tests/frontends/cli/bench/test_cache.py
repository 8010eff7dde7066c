"""`bench cache`: four kinds of requests, each with what it says."""

from thespis.frontends.cli.bench import cache
from thespis.frontends.cli.main import build_parser

from ...openai.fake import FakeClient, served


async def test_new_pictures_one_known_its_id_and_text() -> None:
    client = FakeClient()
    async with served(client) as url:
        words = ["bench", "cache", "--base-url", url, "--size", "28", "--requests", "3"]
        found = await cache.measure(build_parser("bench").parse_args(words))
    media = [each for _, each, *_ in client.submitted]
    new, same, by_id, text = media[:3], media[3:7], media[7:11], media[11:]
    assert [[item.uuid for item in items] for items in text] == [[], [], []]
    assert len({client.blobs[items[0].source.blob.offset] for items in new}) == 3  # type: ignore[union-attr]
    assert len({client.blobs[items[0].source.blob.offset] for items in same}) == 1  # type: ignore[union-attr]
    assert len({items[0].uuid for items in by_id}) == 1
    assert [items[0].source is None for items in by_id] == [False, True, True, True]
    assert min(found.new_picture_ms, found.same_picture_ms, found.id_only_ms, found.text_ms) > 0
    assert len(found.cells()) == 4
