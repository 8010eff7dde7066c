"""The scheduler's policy: requests in, plans out, results in, outputs out. No socket, no clock, no
torch.

Times are parameters (seconds by time.monotonic); what must be sent goes to `outbox`. The shell in
`actor.py` sends it.
"""

from collections.abc import Iterable
from dataclasses import asdict

from ...protocol.config.roles import SchedulerConfig
from ...protocol.config.room import Room
from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.edges.detokenizer_to_scheduler import Stopped
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.edges.gpu_runner_to_scheduler import StepResult
from ...protocol.edges.scheduler_to_gpu_runner import StepPlan
from ...protocol.requests.prepared import Prepared
from .batch import Batch
from .blame import Blame, Isolation
from .books import Books
from .flights import Flights
from .media import Embeddings
from .outbox import Outbox, Tally
from .pieces import pieces
from .planner import Planner
from .register import Register
from .sequence import ScheduledRequest
from .telling import Telling
from .windows import windows_of

IN_FLIGHT = 2
"""Plans sent and not answered: one is computed while the next lies ready."""
NO_ROOM = Books(Room(()), (), 1)


class Scheduler:
    """Owns the queue, the token ids and the block tables of all requests, each in one of its parts:
    `register` which there are, `batch` places and blocks, `media` embeddings, `flights` steps,
    `blame` suspects, `telling` what the detokenizer hears."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.outbox = Outbox()
        self.tally = Tally()
        self.config = config
        self.media = Embeddings(self.outbox, windows_of(config))
        cuts = pieces(config.tile)
        self.batch = Batch(
            self.media, self.tally, cuts, config.prefix_caching, config.max_batched_tokens
        )
        self.planner = Planner(config, self.batch, self.media, cuts, self.tally)
        self.blame = Blame(self.outbox)
        self.register = Register(config, self.batch, self.blame, self.outbox, self.tally)
        self.requests = self.register.requests
        self.flights = Flights(self.batch, self.register, self.blame, self.outbox, self.tally)
        self.isolation = Isolation(self.blame, self.batch, self.media, self.planner, self.requests)
        self.telling = Telling(self.outbox, self.blame, self.requests)
        self._encoder_here = False
        self.due: float | None = None
        """When `schedule` is to be asked again although nothing has happened."""

    # requests

    def submit(self, prepared: Prepared, now: float, so_far: tuple[ChoiceSoFar, ...] = ()) -> None:
        """`so_far`: what the client has of one that is resumed."""
        self.register.take(prepared, so_far, now)

    def stopped(self, message: Stopped) -> None:
        """The detokenizer found a stop string: tokens after it are not wanted."""
        request = self.requests.get(message.id)
        if (
            request is None
            or request.prepared.attempt != message.attempt
            or message.choice >= len(request.sequences)
        ):
            return
        seq = request.sequences[message.choice]
        if seq.ended:
            return
        del seq.output[message.tokens :]
        del seq.logprobs[max(0, message.tokens - seq.resumed) :]
        seq.ended, seq.finish = True, "stop"
        self.batch.leave(seq)
        self.register.close_if_over(request)

    def end(self, ids: Iterable[str]) -> None:
        """These requests are over for their client."""
        self.register.end(ids)
        self.telling.go_on()

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The client has every token of these; nothing need be kept."""
        self.register.acknowledge(ids)
        self.telling.go_on()

    def client_gone(self, client: str) -> None:
        self.end([id for id, request in self.requests.items() if request.prepared.client == client])

    # embeddings

    def ready(self, message: EmbeddingReady, now: float) -> None:
        self.blame.items.ended(message.key)  # the encoder has survived it
        self.media.end_trial(message.holders)
        self.media.ready(message, now)

    def lost(self, message: Lost) -> None:
        for request in self._asking(message.key, message.holders):
            self.register.lose_media(request, message.key)

    def encode_failed(self, message: EncodeFailed) -> None:
        self.blame.items.ended(message.key)
        for request in self._asking(message.key, message.holders):
            self.register.fail(request, message.failure)

    def _asking(self, key: str, holders: tuple[str, ...]) -> list[ScheduledRequest]:
        """For whom this answer is; that of a trial is for all who need the item."""
        trial = self.media.end_trial(holders) is not None
        asking = self.isolation.wanting(key) if trial else self.media.requests_of(holders)
        return [request for request in asking if self.register.holds(request)]

    def encoder_lost(self, epoch: int = 0, now: float = 0.0, outside: bool = True) -> None:
        """Blobs that steps in flight read may be gone. `outside`: killed, no item is to blame."""
        if self._encoder_here:
            self.blame.encoder_died(epoch, self.media.awaited(), outside, now)
        self._encoder_here = False
        self._void_media()
        self.register.refuse_banned(now)

    def encoder_joined(self) -> None:
        """A new encoder-cache knows nothing: whoever needs items asks again, at the next step."""
        self._encoder_here = True
        self._void_media()  # it may come before the news of the death

    def _void_media(self) -> None:
        self.media.void()
        self.flights.orphan()

    # steps

    def schedule(self, now: float) -> StepPlan | None:
        """The next step, or None where nothing can be computed or enough is on its way."""
        self.due = None
        self.isolation.prepare()
        idle = not self.flights
        self.planner.ask_ahead(now, idle)
        if self.batch.books is None or len(self.flights) >= IN_FLIGHT:
            return None
        only = self.planner.only
        if only is not None and self.flights.others_than(only):
            return None  # it would not be alone
        if idle and (due := self.planner.awaits_company(now)) > now:
            self.due = due
            return None
        planned = self.planner.schedule(now, idle)
        if planned is None:
            self.due = self.planner.patience(now) if idle else None
            return None
        plan, step = planned
        self.flights.steps.append(step)
        return plan

    def apply(self, result: StepResult, now: float) -> None:
        """The oldest step's: tokens to the outputs, full blocks to the prefix cache, ends found."""
        flight = self.flights.apply(result, now)
        if flight is not None:
            self.planner.pace.learn(result.seconds, flight.prompts, flight.decoded, result.beside)

    def runner_lost(self, epoch: int = 0, now: float = 0.0, outside: bool = True) -> None:
        """Only what was answered is left. `outside`: it was killed, no request is to blame."""
        touched = self.flights.lose()
        self.batch.lose_runner()
        if touched:
            self.blame.runner_died(epoch, touched, outside, now)
            self.register.refuse_banned(now)

    def runner_joined(self, room: Room) -> None:
        """A runner that knows nothing of us, with so much room."""
        self.runner_lost()
        self.batch.books = Books(room, self.config.windows, self.config.block_size)
        self.register.refuse_too_long()

    # the detokenizer

    def detokenizer_lost(self, epoch: int, now: float, outside: bool) -> None:
        """`outside`: it was killed, no request is to blame."""
        if outside:
            return
        self.blame.detokenizer_died(epoch, self.telling.told, now)
        self.register.refuse_banned(now, closed=True)

    def counters(self) -> dict[str, float]:
        books = self.batch.books
        return {
            **asdict(self.tally),
            **self.planner.sizes.counters(),
            "running": len(self.batch.running),
            "waiting": len(self.batch.waiting),
            "kept": self.register.kept,
            "suspects": self.blame.suspects,
            "suspect_items": len(self.blame.items.suspects),
            "poison": self.blame.refused,
            "embeddings_asked_or_held": self.media.holders,
            **(books or NO_ROOM).counters(),
        }
