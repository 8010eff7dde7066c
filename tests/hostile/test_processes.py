"""Which processes of an engine count as gone."""

import pytest

from thespis.scripts.stress.hostile import processes
from thespis.scripts.stress.hostile.processes import Processes

STAYS = {1: "thespis zygote", 2: "thespis http"}


@pytest.mark.parametrize(
    ("looks", "changes", "replaced"),
    [
        ([STAYS, STAYS], [], 0),
        ([{**STAYS, 9: "thespis zygote"}, STAYS], [], 0),
        ([{**STAYS, 9: "thespis zygote"}, {**STAYS, 9: "thespis zygote"}, STAYS],
         ["thespis zygote"], 0),
        ([{2: "thespis http"}], ["thespis zygote"], 0),
        ([{1: "thespis zygote"}], ["thespis http"], 0),
        ([{**STAYS, 9: "thespis http"}, {1: "thespis zygote"}], ["thespis http"] * 2, 0),
        ([{**STAYS, 9: "thespis decode-worker-0"}, STAYS], [], 1),
    ],
)  # fmt: skip
async def test_the_middle_of_two_forks_is_no_process_that_ended(
    looks: list[dict[int, str]],
    changes: list[str],
    replaced: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker was replaced while the processes were looked at, and its parent had the zygote's
    title for a moment: the zygote was told as ended."""
    told = iter([STAYS, *looks])
    monkeypatch.setattr(processes, "memory_of", lambda pid: 1.0)
    monkeypatch.setattr(processes, "named", lambda director: next(told))
    monkeypatch.setattr(processes, "EVERY_SECONDS", 60.0)
    watched = Processes(director=0)
    async with watched:
        for _ in looks[1:]:
            watched.look()
    assert [change.title for change in watched.changes] == changes
    assert watched.replaced == replaced
