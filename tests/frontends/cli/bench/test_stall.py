"""`bench stall`: what is sent when, and which gaps count as beside the media."""

import pytest

from thespis.frontends.cli.bench import stall
from thespis.frontends.cli.bench.asking import Sample
from thespis.frontends.cli.main import build_parser
from thespis.protocol.requests.request import FrameList

from ...openai.fake import FakeClient, served


def test_gaps_count_from_the_arrival_of_the_media_to_the_last_ones_first_token() -> None:
    text = Sample(first=1.0, gaps=[0.1, 0.2, 0.9, 0.4, 5.0], tokens=6, prompt_tokens=3, began=0.0)
    media = [
        Sample(first=0.5, gaps=[], tokens=1, prompt_tokens=9, began=1.4),
        Sample(0.9, [], 1, 9, 1.4),
    ]
    found = stall.judged([text], media)
    assert (found.undisturbed_p50_ms, found.longest_gap_ms, found.tokens_beside) == (
        200.0,
        900.0,
        2,
    )
    assert found.media_ttft_ms == 900.0
    assert round(found.window_s, 6) == 0.9


async def test_media_are_sent_when_every_stream_is_under_way() -> None:
    client = FakeClient()
    client.words, client.pace = ["x "] * 60, 0.002
    async with served(client) as url:
        words = [
            "bench",
            "stall",
            "--base-url",
            url,
            "--size",
            "28",
            "--items",
            "2",
            "--text-streams",
            "3",
            "--rounds",
            "1",
        ]
        found = await stall.measure(
            build_parser("bench").parse_args([*words, "--stream-tokens", "60"])
        )
    sent = [[item.modality for item in media] for _, media, *_ in client.submitted]
    assert sent == [[], [], [], ["image"], ["image"]]
    assert found.undisturbed_p50_ms > 1.0
    assert found.tokens_beside > 0
    assert found.longest_gap_ms >= found.undisturbed_p50_ms
    assert [cell.name for cell in found.cells("image")][1] == "image: longest gap"


async def test_clips_are_frames_in_one_address() -> None:
    client = FakeClient()
    client.words = ["x "] * 60
    async with served(client) as url:
        words = [
            "bench",
            "stall",
            "--base-url",
            url,
            "--heavy",
            "video",
            "--size",
            "28",
            "--items",
            "1",
            "--text-streams",
            "1",
        ]
        await stall.measure(
            build_parser("bench").parse_args([*words, "--rounds", "1", "--stream-tokens", "60"])
        )
    *_, (_, media, *_) = client.submitted
    assert [item.modality for item in media] == ["video"]
    assert isinstance(media[0].source, FrameList)
    assert len(media[0].source.sizes) == stall.FRAMES


@pytest.mark.parametrize(
    "flags",
    [["--text-streams", "0"], ["--items", "0"], ["--stream-tokens", "4"], ["--size", "100000"]],
)
def test_there_is_something_to_stall_and_something_that_stalls_it(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build_parser("bench").parse_args(["bench", "stall", *flags])
    assert f"argument {flags[0]}: expected a number from" in capsys.readouterr().err
