"""What ranks say to each other while they compute: sums and parts of tensors, by torch.distributed.

All of them make the same calls in the same order. The first has the word where they could differ:
it alone chooses tokens, and says which.
"""

import logging
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from ...protocol.errors import EngineError

log = logging.getLogger(__name__)

MOST_SECONDS = 300.0
"""That a rank waits for the others within a step or a start: as long as any work may take."""
GRACE_SECONDS = 20.0
"""For the director to end all of them when one has ended: it knows which was the first."""


class Ranks:
    """One of `size`, which hears nothing of the others: what it makes has the right shape, and no
    more. On meta there is nothing else to know."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        """Of what each has; may change `x`."""
        return x

    def side_by_side(self, x: torch.Tensor) -> torch.Tensor:
        """[..., n] of each, in the order of the ranks, as [..., size * n]."""
        return torch.cat([x] * self.size, -1)

    def as_first(self, x: torch.Tensor) -> torch.Tensor:
        """The first one's `x`, of the same shape and dtype in all."""
        return x

    def least(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Of each of as many numbers, what all have."""
        return tuple(numbers)


ALONE = Ranks(0, 1)


class Gang(Ranks):
    """Those of one engine. Loopback is the only network that they listen on, and they find each
    other by a file in the run directory, which its owner alone can enter."""

    def __init__(self, rank: int, size: int, meeting: Path, device: torch.device) -> None:
        """`meeting`: a file that these processes have for themselves. Raises EngineError where they
        do not find each other."""
        super().__init__(rank, size)
        self._device = device
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo"
        os.environ["NCCL_IB_DISABLE"] = "1"
        # not before it is needed: the import costs every other process memory and time
        import torch.distributed

        self._torch: Any = torch.distributed  # half of it has no types
        limit = timedelta(seconds=MOST_SECONDS)
        try:
            store = self._torch.FileStore(str(meeting), size)
            store.set_timeout(limit)
            self._group = self._group_of(store, limit)
            self.least((0,))  # they connect
        except RuntimeError as error:
            log.exception("rank %d", rank)
            raise EngineError(
                f"The {size} processes of tensor_parallel_size do not find each other; see the log."
            ) from error

    def _group_of(self, store: Any, limit: timedelta) -> Any:
        """Not torch's default one: there may be several in a process."""
        if self._device.type == "cpu":
            return self._torch.ProcessGroupGloo(store, self.rank, self.size, limit)
        torch.cuda.set_device(self._device)
        options = self._torch.ProcessGroupNCCL.Options()
        options._timeout = limit
        return self._torch.ProcessGroupNCCL(store, self.rank, self.size, options)

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        self._meet(self._group.allreduce, [x])
        return x

    def side_by_side(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(self.size)]
        self._meet(self._group.allgather, [parts], [x])
        return torch.cat(parts, -1)

    def as_first(self, x: torch.Tensor) -> torch.Tensor:
        told = x.to(self._device)
        self._meet(self._group.broadcast, [told], self._torch.BroadcastOptions())
        return told.to(x.device)

    def least(self, numbers: Sequence[int]) -> tuple[int, ...]:
        told = torch.tensor(numbers, dtype=torch.int64, device=self._device)
        options = self._torch.AllreduceOptions()
        options.reduceOp = self._torch.ReduceOp.MIN
        self._meet(self._group.allreduce, [told], options)
        return tuple(told.tolist())

    def _meet(self, call: Any, *given: Any) -> None:
        """A rank that has died breaks the others' calls, often before the director has heard of it:
        they wait to be ended with it, so that its death counts as what it was."""
        try:
            call(*given).wait()
        except RuntimeError:
            log.warning("rank %d: another rank does not answer", self.rank)
            time.sleep(GRACE_SECONDS)
            raise
