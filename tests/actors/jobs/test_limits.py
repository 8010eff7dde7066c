"""How long a piece of work may take, and what is said of one that ends its worker."""

from typing import get_args

import pytest

from thespis.actors.jobs.limits import WALL, limits_of
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode
from thespis.protocol.requests.request import MediaItem, Modality


@pytest.mark.parametrize("modality", get_args(Modality))
def test_there_are_words_for_every_kind_of_item(modality: Modality) -> None:
    """A prompt's embeddings that took too long ended their worker for want of them."""
    job = Decode(1, MediaItem(modality, None, "media[0]"), {}, {}, "")
    found = limits_of(job, MediaLimits(image_seconds=2.0, decode_seconds=4.0))
    assert found.seconds == WALL * (2.0 if modality == "image" else 4.0)
    assert (found.overrun.code, found.deadly.code) == ("decode_timeout", "poison")
