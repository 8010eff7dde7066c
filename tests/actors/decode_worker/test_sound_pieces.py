"""Long sounds in pieces: cut at quiet places, and each decoded as the whole would have it."""

import io
from functools import cache
from typing import Any

import av
import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from thespis.actors.decode_worker.audio import decode_audio
from thespis.actors.decode_worker.quiet_places import Cutter
from thespis.actors.decode_worker.sound_pieces import Cut, cut_sound, decode_piece
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.sound import Stretch

from ...helpers.speech import CONTAINERS, PAUSES, recorded, speech

LIMITS = MediaLimits(audio_seconds=10.0)
"""Of a piece; the whole is longer."""
RATE = 16_000
NOISY = ("m4a", "aac")
"""AAC fills bands with noise of its decoder's own, whose state reaches back to the beginning."""


@cache
def decoded(name: str) -> Any:
    """The whole, as one."""
    return decode_audio(recorded(name), CONTAINERS[name][2], MediaLimits())


@pytest.mark.parametrize("name", CONTAINERS)
def test_pieces_are_what_the_whole_would_be(name: str) -> None:
    data, own = recorded(name), CONTAINERS[name][2]
    cut = cut_sound(data, lambda rate: 5 * rate, LIMITS)
    whole = decoded(name)
    assert cut.rate == own
    assert cut.stretches[0].start == 0
    assert cut.stretches[-1].end == len(whole)
    for before, after in zip(cut.stretches, cut.stretches[1:], strict=False):
        assert before.end == after.start
        assert min(abs(after.start / own - pause) for pause in PAUSES) < 0.3
        assert after.packet > 0, "nothing is decoded twice"
    for stretch in cut.stretches:
        assert 0.9 * own < stretch.end - stretch.start <= 5 * own
        made, wanted = decode_piece(data, stretch, own, LIMITS), whole[stretch.start : stretch.end]
        assert made.shape == wanted.shape
        off = np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
        assert off <= (2e-3 if name in NOISY else 0)


def in_turns(data: bytes, pieces: int, turn: float) -> list[Cut]:
    """Until nothing is left, each turn from where the last one ended."""
    turns = [cut_sound(data, lambda rate: pieces * rate, LIMITS, None, turn)]
    while (rest := turns[-1].rest) is not None:
        turns.append(cut_sound(data, lambda rate: pieces * rate, LIMITS, rest, turn))
    return turns


@pytest.mark.parametrize("name", CONTAINERS)
def test_cut_in_turns_it_has_the_same_pieces(name: str) -> None:
    data, own = recorded(name), CONTAINERS[name][2]
    whole = cut_sound(data, lambda rate: 3 * rate, LIMITS)
    assert whole.rest is None
    turns = in_turns(data, 3, 6.0)
    assert len(turns) > 2
    found = [one for turn in turns for one in turn.stretches]
    places = [(one.start, one.end) for one in found]
    wanted = [(one.start, one.end) for one in whole.stretches]
    if name in NOISY:
        assert np.allclose(places, wanted, atol=own // 20)
    else:
        assert places == wanted
    samples = decoded(name)
    for turn in turns[1:]:
        stretch = turn.stretches[0]
        assert stretch.packet > 0, "nothing is decoded twice"
        made, known = decode_piece(data, stretch, own, LIMITS), samples[stretch.start : stretch.end]
        off = np.linalg.norm(made - known) / np.linalg.norm(known)
        assert off <= (2e-3 if name in NOISY else 1e-6)


def test_a_place_that_is_not_there_is_found_by_counting() -> None:
    data = recorded("mp3")
    first, *others = in_turns(data, 3, 6.0)
    assert first.rest is not None
    wanted = [(one.start, one.end) for one in others[0].stretches]
    for wrong in ({"pts": first.rest.pts + 1}, {"pts": 1 << 40}, {"pts": 0}, {"packet": 1 << 40}):
        place = msgspec.structs.replace(first.rest, **wrong)
        found = cut_sound(data, lambda rate: 3 * rate, LIMITS, place, 6.0)
        assert [(one.start, one.end) for one in found.stretches] == wanted


def test_what_has_no_times_is_cut_in_one_turn() -> None:
    file = io.BytesIO()
    soundfile.write(file, speech(8000), 8000, format="VOC", subtype="PCM_16")
    (cut,) = in_turns(file.getvalue(), 3, 6.0)
    assert cut.seconds == pytest.approx(len(speech(8000)) / 8000)


def test_what_only_libsndfile_reads_is_cut_by_counting() -> None:
    file = io.BytesIO()
    soundfile.write(file, speech(8000), 8000, format="RF64")
    for form in ("RF64", "VOC", "AVR"):
        file = io.BytesIO()
        soundfile.write(file, speech(8000), 8000, format=form, subtype="PCM_16")
        data = file.getvalue()
        whole = decode_audio(data, 8000, MediaLimits())
        cut = cut_sound(data, lambda rate: 5 * rate, LIMITS)
        made = [decode_piece(data, stretch, 8000, LIMITS) for stretch in cut.stretches]
        assert np.array_equal(np.concatenate(made), whole)


def test_a_damaged_place_is_passed_over_in_a_piece_as_in_the_whole() -> None:
    """Five packets of a thousand are few, and none of a sound are missed in a piece alone."""
    data = bytearray(recorded("m4a"))
    opened: Any = av.open(io.BytesIO(data))
    with opened as container:
        packets = [(one.pos, one.size) for one in container.demux(audio=0) if one.size]
    for at, size in packets[900:905]:
        data[at : at + size] = b"\x12" * size
    damaged = bytes(data)
    whole = decode_audio(damaged, RATE, MediaLimits())
    assert 0 < len(decode_audio(recorded("m4a"), RATE, MediaLimits())) - len(whole) < RATE
    cut = cut_sound(damaged, lambda rate: 5 * rate, LIMITS)
    turns = in_turns(damaged, 5, 6.0)
    assert len(turns) > 1
    ends = [one.end for turn in turns for one in turn.stretches]
    assert ends == [one.end for one in cut.stretches]
    heard = sum(len(decode_piece(damaged, one, RATE, LIMITS)) for one in cut.stretches)
    assert abs(heard - len(whole)) <= len(cut.stretches)


def test_a_wrong_note_of_the_place_costs_time_and_nothing_else() -> None:
    data = recorded("mp3")
    cut = cut_sound(data, lambda rate: 5 * rate, LIMITS)
    right = cut.stretches[2]
    whole = decode_audio(data, cut.rate, MediaLimits())
    for pts in (0, right.pts + 1 if right.pts else 1, 1 << 40):
        wrong = Stretch(right.start, right.end, right.packet, pts, right.first)
        made = decode_piece(data, wrong, cut.rate, LIMITS)
        assert np.array_equal(made, whole[right.start : right.end])


def test_limits_and_what_is_no_sound() -> None:
    with pytest.raises(RequestError, match="lasts 25"):
        cut_sound(recorded("wav"), lambda rate: rate, MediaLimits(cut_seconds=24.0))
    with pytest.raises(RequestError, match="decoded"):
        cut_sound(b"RIFF no sound", lambda rate: rate, LIMITS)
    hasty = bytearray(recorded("wav"))
    hasty[24:28] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(RequestError, match="2147483647 Hz is not taken"):
        cut_sound(bytes(hasty), lambda rate: rate, LIMITS)
    with pytest.raises(RequestError, match="decoded"):
        decode_piece(b"", Stretch(0, 5), RATE, LIMITS)
    with pytest.raises(RequestError, match="no sound"):
        decode_piece(recorded("wav"), Stretch(1 << 40, (1 << 40) + 5), RATE, LIMITS)


def test_the_whole_is_never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    joined = np.concatenate

    def watched(arrays: Any) -> Any:
        made = joined(arrays)
        held.append(len(made))
        return made

    monkeypatch.setattr(np, "concatenate", watched)
    cut_sound(recorded("opus"), lambda rate: 5 * rate, LIMITS)
    assert max(held) < 48_000 // 2


@given(
    st.lists(st.floats(0, 1), max_size=400),
    st.integers(1, 60),
    st.integers(0, 40),
    st.integers(1, 7),
)
def test_every_piece_is_in_bounds(
    loudness: list[float], longest: int, tail: int, step: int
) -> None:
    cutter, cuts = Cutter(longest, tail), [0]
    for at in range(0, len(loudness), step):
        cuts += cutter.add(loudness[at : at + step])
    cuts += cutter.end()
    lengths = np.diff([*cuts, len(loudness)])
    assert (lengths <= longest).all()
    assert (lengths[:-1] >= min(max(1, longest // 2), longest)).all()
    if len(lengths) > 1:
        assert lengths[-1] >= min(tail, longest // 2)
