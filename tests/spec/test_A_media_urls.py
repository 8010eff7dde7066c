"""Section A: media URLs and their safety, through all faces at once, against a web site that plays
every trick."""

import asyncio
import re
import struct
import time
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from thespis import SamplingParams
from thespis.protocol.errors import RequestError

from ..helpers.checkpoints import Checkpoints
from ..helpers.facts import facts_of
from ..helpers.media import data_url, picture, png, sound, wav
from .stage import Stage, on_stage
from .web import media, part

pytestmark = pytest.mark.process

ENVIRON = {
    "THESPIS_IMAGE_FETCH_TIMEOUT": "2",
    "VLLM_VIDEO_FETCH_TIMEOUT": "1.25",
    "THESPIS_AUDIO_FETCH_TIMEOUT": "0.75",
    "VLLM_AUDIO_FETCH_TIMEOUT": "60",
    "VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": "1",
    "THESPIS_MAX_IMAGE_PIXELS": "100000",
    "VLLM_MAX_AUDIO_DECODE_DURATION_S": "0.6",
    "THESPIS_MAX_EMBED_DECODE_BYTES": "4096",
}
CLOSED = (
    "localhost", "private.example", "metadata.example", "cgnat.example", "mapped.example",
    "nat64.example",
    "six-to-four.example", "special.example",
    "127.0.0.1", "10.0.0.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "[::1]",
    "[::]", "[fd00::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
)  # fmt: skip
ODD = (
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0x7f.1",
    "1",
    "127.0.0.1.",
    "①②⑦.0.0.1",
    "ｌｏｃａｌｈｏｓｔ",
    "LOCALHOST.",
)


@pytest.fixture(scope="module")
def stage(checkpoints: Checkpoints) -> Iterator[Stage]:
    """No allowlist, no local folder, no cache: as shipped, but for smaller limits."""
    with on_stage(checkpoints("qwen_omni"), ENVIRON, enable_mm_embeds=True) as stage:
        yield stage
        assert stage.site.canary_heard == 0, "somebody connected to a forbidden address"


def test_the_canary_would_be_heard(stage: Stage) -> None:
    """A public name at the canary's port: else its silence would say nothing."""
    stage.refused(part(stage.site.trap("pictures.example")))
    assert stage.site.canary_heard > 0
    stage.site.canary_heard = 0


@pytest.mark.parametrize(
    ("name", "kind", "type_"),
    [
        ("picture-3.png", "image", "image/png"),
        ("clip-2.mp4", "video", "video/mp4"),
        ("sound-4.wav", "audio", "audio/wav"),
    ],
)
def test_S4_what_an_http_url_names_is_what_is_answered(
    stage: Stage, name: str, kind: str, type_: str
) -> None:
    fetched = stage.answered(part(stage.site.url(f"/{name}"), kind))
    inline = stage.answered(part(data_url(type_, media(name)), kind))
    assert {answer.token_ids.__repr__() for answer in (*fetched.values(), *inline.values())} == {
        repr(inline["llm"].token_ids)
    }


def test_S44_the_shorthand_of_a_url(stage: Stage) -> None:
    whole = stage.answered(part(stage.site.url("/picture-1.png")))
    for short in (
        {"image_url": stage.site.url("/picture-1.png")},
        {"type": "input_image", "image_url": stage.site.url("/picture-1.png")},
    ):
        told = stage.answered(short)
        assert {name: answer.token_ids for name, answer in told.items()} == {
            name: a.token_ids for name, a in whole.items()
        }


def test_S4_content_is_known_by_its_bytes_not_by_its_name(stage: Stage) -> None:
    stage.answered(part(stage.site.url("/named/notes.txt?picture-5.png")))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://pictures.example/a.png",
        "gopher://x/",
        "javascript:1",
        "picture.png",
        "",
        "//pictures.example/a",
    ],
)
def test_S4_any_other_scheme_is_refused_with_the_kinds_that_there_are(
    stage: Stage, url: str
) -> None:
    text = stage.refused(part(url)).lower()
    assert all(kind in text for kind in ("http", "data", "file"))


def test_S4_data_urls_are_base64_only(stage: Stage) -> None:
    assert "base64" in stage.refused(part("data:image/png,%89PNG"))
    stage.refused(part("data:image/png;base64,@@@@"))


def test_S2_public_names_are_fetched_from(stage: Stage) -> None:
    for host in (
        "pictures.example",
        "cdn.example",
        "six.example",
        "bücher.example",
        "PICTURES.example.",
        "93.184.216.34",
    ):
        stage.answered(part(stage.site.url("/picture-1.png?public", host)))


@pytest.mark.parametrize("host", CLOSED)
def test_S2_addresses_that_are_not_public_are_refused_and_never_contacted(
    stage: Stage, host: str
) -> None:
    assert "--allow-private-media" in stage.refused(part(stage.site.trap(host)))
    assert stage.site.canary_heard == 0


@pytest.mark.parametrize("host", ODD)
def test_S2_odd_spellings_of_an_address_do_not_get_by(stage: Stage, host: str) -> None:
    stage.refused(part(stage.site.trap(host)))
    assert stage.site.canary_heard == 0


@pytest.mark.parametrize(
    "form", [
        "http://pictures.example@127.0.0.1:{0}/", "http://a:b@pictures.example:{0}/",
        "http://127.0.0.1:{0}\\@pictures.example/", "http://127.0.0.1:{0}#@pictures.example/",
    ],
)  # fmt: skip
def test_S2_what_stands_beside_the_host_does_not_hide_it(stage: Stage, form: str) -> None:
    stage.refused(part(form.format(stage.site.canary)))
    assert stage.site.canary_heard == 0


def test_S2_a_name_with_a_public_and_a_private_address_is_refused(stage: Stage) -> None:
    assert "public" in stage.refused(part(stage.site.url("/picture-1.png?mixed", "mixed.example")))
    assert not stage.site.asked("/picture-1.png?mixed")


def test_S2_a_name_that_changes_its_mind_reaches_only_what_was_checked(stage: Stage) -> None:
    """Each connection asks once; what the second look-up says leads nowhere."""
    url = stage.site.url("/late/0.2/picture-1.png?rebind", "rebind.example")
    outcomes = [stage.everywhere(part(f"{url}{turn}")) for turn in range(2)]
    assert any("public" in str(outcome) for turn in outcomes for outcome in turn.values())
    for request in stage.site.requests:
        assert request.host.split(":")[0] != "127.0.0.1"


def test_S2_the_peer_is_looked_at_before_a_byte_is_sent(stage: Stage) -> None:
    assert "public" in stage.refused(part(stage.site.url("/picture-1.png?cheat", "cheat.example")))
    assert not stage.site.asked("/picture-1.png?cheat")


def test_S3_three_redirects_are_followed_and_nothing_is_carried_over(stage: Stage) -> None:
    stage.answered(part(stage.site.url("/hops/3")))
    stage.answered(
        part(stage.site.url(f"/to?{stage.site.url('/picture-1.png?over', 'cdn.example')}"))
    )
    for request in stage.site.requests:
        assert not {"Cookie", "Authorization", "Referer", "Proxy-Authorization"} & set(
            request.headers
        )


def test_S3_a_fourth_is_not_nor_a_loop(stage: Stage) -> None:
    assert "more than 3 redirects" in stage.refused(part(stage.site.url("/hops/4")))
    assert "more than 3 redirects" in stage.refused(part(stage.site.url("/loop")))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "private.example",
        "metadata.example",
        "[::1]",
        "2130706433",
        "mapped.example",
    ],
)
def test_S3_every_hop_passes_the_whole_check(stage: Stage, host: str) -> None:
    stage.refused(part(stage.site.url(f"/to?{stage.site.trap(host)}")))
    assert stage.site.canary_heard == 0


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://pictures.example/x", "data:image/png;base64,AAAA", "http://"],
)
def test_S3_a_redirect_leads_to_no_other_scheme(stage: Stage, target: str) -> None:
    stage.refused(part(stage.site.url(f"/to?{target}")))


def test_S5_files_are_closed_by_default_and_the_flag_is_named(stage: Stage) -> None:
    assert "--allowed-local-media-path" in stage.refused(part("file:///etc/hostname"))


def test_S6_a_slow_drip_ends_at_the_limit_of_its_modality(stage: Stage) -> None:
    """S7 too: the clip's limit is the twin's, and the sound's own goes before its twin."""
    for kind, limit in (("image", 2.0), ("video", 1.25), ("audio", 0.75)):
        assert f"longer than {limit:g} s (reading the answer)" in stage.refused(
            part(stage.site.url(f"/drip?{kind}"), kind)
        )


def test_S6_a_server_that_never_answers_is_asked_again_within_the_limit(stage: Stage) -> None:
    stage.refused(part(stage.site.url("/hang?ever"), "video"))
    assert len(stage.site.asked("/hang?ever")) > 1
    stage.answered(part(stage.site.url("/flaky/hang/1?once")))


@pytest.mark.parametrize("fault", ["500", "502", "503", "408", "429", "cut"])
def test_S6_passing_faults_are_asked_again(stage: Stage, fault: str) -> None:
    stage.answered(part(stage.site.url(f"/flaky/{fault}/2?x")))
    assert len(stage.site.asked(f"/flaky/{fault}/2?x")) >= 3


def test_S6_three_times_at_most(stage: Stage) -> None:
    assert "503" in stage.refused(part(stage.site.url("/flaky/503/99?y")))
    assert len(stage.site.asked("/flaky/503/99?y")) in (4, 8, 12), (
        "four for each face that did not share"
    )


def test_S6_a_deadline_of_the_request_cuts_its_fetch(stage: Stage) -> None:
    _, running, _ = stage.faces
    stage.site.left.clear()
    conversation = [{"role": "user", "content": [part(stage.site.url("/drip?deadline"))]}]
    with pytest.raises(RequestError) as caught:
        running.run(
            running.llm.chat(conversation, SamplingParams(max_tokens=2), deadline=time.time() + 0.4)
        )
    assert caught.value.failure.kind == "deadline", "and not the fetch's own limit"
    assert stage.site.left.wait(10), "the server sees it"


def test_S55_a_caller_that_leaves_cuts_its_fetch(stage: Stage) -> None:
    _, running, _ = stage.faces
    stage.site.left.clear()
    conversation = [{"role": "user", "content": [part(stage.site.url("/drip?leaver"))]}]

    async def leave() -> None:
        task = asyncio.ensure_future(running.llm.chat(conversation, SamplingParams(max_tokens=2)))
        while not stage.site.asked("/drip?leaver"):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    running.run(leave())
    assert stage.site.left.wait(1.0)


@pytest.mark.parametrize("page", ["/says-more", "/endless"])
def test_S8_a_download_over_its_cap_is_413(stage: Stage, page: str) -> None:
    assert "1048576" in stage.refused(part(stage.site.url(page)), status=413)


def test_S8_a_body_that_is_compressed_is_not_unpacked(stage: Stage) -> None:
    assert "compressed" in stage.refused(part(stage.site.url("/gzip")))


def test_S8_an_answer_that_goes_on_after_its_length_is_none(stage: Stage) -> None:
    assert "makes no sense" in stage.refused(part(stage.site.url("/says-less")))


def test_S8_pixels_are_counted_from_the_header(stage: Stage) -> None:
    over = data_url("image/png", png(picture(1, 400, 300)))
    assert "120000" in re.sub("400x300", "120000", stage.refused(part(over), status=413))
    stage.answered(part(data_url("image/png", png(picture(1, 90, 60)))))


def test_S8_a_header_is_enough(stage: Stage) -> None:
    """No pixel of it is there."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)),
        (b"IDAT", b""),
    ):
        content += (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
    assert "60000x60000" in stage.refused(part(data_url("image/png", content)), status=413)


def test_S8_seconds_of_sound_are_counted(stage: Stage) -> None:
    stage.refused(part(data_url("audio/wav", wav(sound(1, 0.8))), "audio"), status=413)
    stage.answered(part(data_url("audio/wav", wav(sound(1, 0.5))), "audio"))


def test_S8_bytes_of_embeddings_are_counted(stage: Stage) -> None:
    hidden = facts_of(str(stage.model)).hidden
    rows = np.zeros((4096 // (4 * hidden) + 1, hidden), np.float32)
    llm = stage.faces[0].llm
    given = {"image_embeds": rows, "image_grid_thw": [1, 2, 2 * len(rows)]}
    with pytest.raises(RequestError) as caught:
        llm.generate({"prompt": "<|IMAGE|>", "multi_modal_data": {"image": given}}, use_tqdm=False)
    assert caught.value.status in (413, 422)
    assert "4096" in str(caught.value)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{0}'\n",
    "dash": "<?xml "
    'version="1.0"?><MPD><Period><AdaptationSet><BaseURL>{0}</BaseURL></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 "
    "127.0.0.1\nt=0 0\na=control:{0}\nm=video 9 "
    "RTP/AVP 96\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{0}" width="9" height="9"/></svg>',
    "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({0}) run\n",
}


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
@pytest.mark.parametrize("form", PLAYLISTS)
def test_S30_what_names_another_place_leads_nowhere(stage: Stage, kind: str, form: str) -> None:
    """Media are what is in them."""
    content = PLAYLISTS[form].format(stage.site.trap("127.0.0.1")).encode()
    stage.refused(part(data_url(f"{kind}/x", content), kind), status=422)
    assert stage.site.canary_heard == 0


def test_S18_an_id_stands_for_a_url_that_is_not_fetched_again(stage: Stage) -> None:
    url = "/picture-12.png?by-id"
    told = stage.answered({**part(stage.site.url(url)), "uuid": "by-url"})
    time.sleep(1.2)  # longer than downloads are shared
    fetched = len(stage.site.asked(url))
    again = stage.answered({"type": "image_url", "image_url": None, "uuid": "by-url"})
    assert len(stage.site.asked(url)) == fetched > 0
    assert {name: answer.token_ids for name, answer in again.items()} == {
        name: a.token_ids for name, a in told.items()
    }


def test_S9_one_url_asked_for_by_several_at_once_is_downloaded_once(stage: Stage) -> None:
    shared = stage.counters()["shared"]
    answers = stage.answered(part(stage.site.url("/late/0.7/picture-7.png")))
    assert len(stage.site.asked("/late/0.7/picture-7.png")) == 1
    assert stage.counters()["shared"] == shared + 2
    assert len({repr(answer.token_ids) for answer in answers.values()}) == 1


def test_S9_nothing_is_kept_on_disk_by_default(stage: Stage) -> None:
    for count in (1, 2):
        stage.answered(part(stage.site.url("/picture-8.png?again")))
        time.sleep(1.2)
        assert len(stage.site.asked("/picture-8.png?again")) == count


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 304])
def test_S10_the_status_is_named_and_nothing_that_the_server_says(
    stage: Stage, status: int
) -> None:
    assert str(status) in stage.refused(part(stage.site.url(f"/status/{status}")))


def test_S10_the_item_at_fault_is_named_among_others(stage: Stage) -> None:
    good = part(stage.site.url("/picture-1.png?good"))
    stage.refused(
        good,
        {"type": "text", "text": "and"},
        part(stage.site.url("/status/404?bad")),
        where="messages[0].content[2]",
    )


def test_S10_what_is_no_answer_at_all_says_the_stage(stage: Stage) -> None:
    assert "waiting for the answer" in stage.refused(part(stage.site.url("/not-http")))
    assert "cannot be resolved" in stage.refused(part(stage.site.url("/x", "nowhere.example")))


def test_the_engine_did_not_notice(stage: Stage) -> None:
    """Last: the fetcher is the one that began, and holds nothing."""
    stage.answered(part(stage.site.url("/picture-9.png")))
    status = stage.faces[0].llm.status()
    assert status.restarts.get("fetcher", 0) == 0
    time.sleep(1.5)
    counters = stage.counters()
    assert (counters["open_requests"], counters["held_bytes"]) == (0, 0)
