"""One engine: the real scheduler, admission and embedding store between times that pass."""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import partial

from thespis.actors.encoder_cache.batching import RowPace, choose
from thespis.actors.encoder_cache.entries import StoreEffect
from thespis.actors.encoder_cache.store import Store
from thespis.actors.scheduler.scheduler import Scheduler
from thespis.frontends.client.admission import Admission, Cost, estimate_tokens
from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from thespis.protocol.edges.gpu_runner_to_scheduler import Sampled, StepResult
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.edges.scheduler_to_detokenizer import Close, Outputs
from thespis.protocol.edges.scheduler_to_encoder_cache import Need
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Timing
from thespis.protocol.requests.request import TokenPrompt
from thespis.protocol.requests.sampling import SamplingParams

from .asking import Ask, Picture
from .clock import Clock
from .times import Profile, Shape

DECODED_KEPT = 4096
"""Items whose features a preprocessor still has."""
FEATURES_BYTES = 2 << 30
BATCH_ROWS = 512


class Replica:
    """`take` a request, and its caller hears of it; after `die` nothing ever leaves it again."""

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        ended: Callable[[Ask], None],
        seed: int = 0,
    ) -> None:
        """`ended`: everything of a request has reached its caller."""
        config = profile.scheduler
        assert config.room is not None
        self.alive = True
        self._random = random.Random(seed)
        self._profile, self._times, self._clock = profile, profile.times, clock
        self._ended = ended
        self.policy = Scheduler(config)
        self.policy.runner_joined(config.room)
        self.policy.encoder_joined()
        self.admission = Admission(profile.share)
        self.store = Store(config.store_bytes, config.hidden_bytes, FEATURES_BYTES)
        self._pace = RowPace(BATCH_ROWS // profile.times.grain)
        self._asks: dict[str, tuple[Ask, Cost]] = {}
        self._plans: deque[StepPlan] = deque()
        self._decoded: OrderedDict[str, None] = OrderedDict()
        self._decoding: dict[str, list[Callable[[], None]]] = {}
        """By key of an item: who waits for it."""
        self._to_decode: deque[Picture] = deque()
        self._decoders = self._times.decoders
        """Those that rest."""
        self._computing = self._encoding = False
        self.step_seconds = self.encode_seconds = self.decode_seconds = 0.0
        """In which each was busy."""
        self.encoded = self.shared = 0
        """Items that had to be encoded, and that another request had brought."""

    @property
    def busy(self) -> int:
        """Requests that it has."""
        return len(self._asks)

    def take(self, ask: Ask) -> None:
        """Raises RequestError where there is no room."""
        prompt = TokenPrompt(ask.text)
        wanted = SamplingParams(max_tokens=ask.answer)
        tokens = estimate_tokens(prompt, wanted, self._profile.scheduler.max_model_len)
        cost = Cost(1, tokens, sum(picture.nbytes for picture in ask.pictures))
        self.admission.try_take(cost)
        self._asks[ask.id] = ask, cost
        waited = {"for": len(ask.pictures)}

        def one_less() -> None:
            waited["for"] -= 1
            if not waited["for"]:
                before = self._random.choice(self._times.before_media)
                self._after(before, lambda: self._submit(ask))

        if not ask.pictures:
            before = self._random.choice(self._times.before)
            self._after(before, lambda: self._submit(ask))
        for picture in ask.pictures:
            self._decode(picture, one_less)

    def die(self) -> list[Ask]:
        """Whom it had."""
        self.alive = False
        return [ask for ask, _ in self._asks.values()]

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        def unless_dead() -> None:
            if self.alive:
                event()

        self._clock.after(seconds, unless_dead)

    # the preprocessor and its workers

    def _decode(self, picture: Picture, done: Callable[[], None]) -> None:
        if picture.key in self._decoded:
            self._decoded.move_to_end(picture.key)
            self._after(0.0, done)
            return
        if picture.key in self._decoding:
            self._decoding[picture.key].append(done)
            return
        self._decoding[picture.key] = [done]
        self._to_decode.append(picture)
        self._decode_next()

    def _decode_next(self) -> None:
        while self._decoders and self._to_decode:
            picture = self._to_decode.popleft()
            self._decoders -= 1
            seconds = self._times.decode.seconds(picture.pixels, self._random)
            self.decode_seconds += seconds
            self._after(seconds, partial(self._has_decoded, picture))

    def _has_decoded(self, picture: Picture) -> None:
        self._decoders += 1
        self._decoded[picture.key] = None
        if len(self._decoded) > DECODED_KEPT:
            self._decoded.popitem(last=False)
        for done in self._decoding.pop(picture.key):
            done()
        self._decode_next()

    # the scheduler and its runner

    def _submit(self, ask: Ask) -> None:
        if ask.id not in self._asks:
            return
        for picture in ask.pictures:
            self._effects(self.store.features(_features(ask, picture)))
        so_far = (ChoiceSoFar(tuple(ask.got), 0, False),) if ask.got else ()
        self.policy.submit(ask.prepared(), self._clock.now, so_far)
        self._go_on()

    def _go_on(self) -> None:
        now = self._clock.now
        while (plan := self.policy.schedule(now)) is not None:
            self._plans.append(plan)
        if self.policy.due is not None:
            self._after(self.policy.due - now, self._go_on)
        self._compute()
        for message in self.policy.telling.take():
            match message:
                case Outputs(outputs):
                    for output in outputs:
                        self._say(output.id, output.position, output.token_ids)
                case Close():
                    self._end(message.id)
        wishes, self.policy.outbox.encoder = self.policy.outbox.encoder[:], []
        for wish in wishes:
            self._effects(
                self.store.need(wish, now)
                if isinstance(wish, Need)
                else self.store.release(wish.holder, wish.keys)
            )
        for _, answer in self.policy.outbox.clients:
            self._end(answer.id)  # refused, or lost
        self.policy.outbox.clients.clear()

    def _compute(self) -> None:
        if self._computing or not self._plans:
            return
        self._computing = True
        plan, beside = self._plans.popleft(), self._encoding
        seconds = self._times.of(Shape.of(plan), beside, self._random)
        self.step_seconds += seconds
        self._after(seconds, lambda: self._computed(plan, seconds, beside))

    def _computed(self, plan: StepPlan, seconds: float, beside: bool) -> None:
        self._computing = False
        sampled = tuple(
            Sampled(work.seq, 100 + (plan.step * 31 + work.seq) % 9000)
            for work in plan.work
            if work.sample
        )
        result = StepResult(plan.step, sampled, seconds=seconds * self._times.inside, beside=beside)
        self.policy.apply(result, self._clock.now)
        self._go_on()

    def _say(self, id: str, position: int, token_ids: tuple[int, ...]) -> None:
        ask, _ = self._asks[id]
        after = self._times.after
        seconds = after[len(after) // 2] if position else self._random.choice(after)
        ask.heard(position, token_ids, self._heard_at(ask, seconds))

    def _end(self, id: str) -> None:
        ask, cost = self._asks.pop(id)
        self.policy.acknowledge((id,))
        self.policy.end((id,))
        self._effects(self.store.over({id}))
        self.admission.give(cost)
        self._clock.at(self._heard_at(ask, 0.0), lambda: self._ended(ask))

    def _heard_at(self, ask: Ask, seconds: float) -> float:
        """When what leaves now is heard: everything of a request in the order in which it left.
        It reaches its caller whatever becomes of this engine."""
        ask.heard_last = max(ask.heard_last, self._clock.now + seconds)
        return ask.heard_last

    # the encoder-cache

    def _effects(self, effects: Iterable[StoreEffect]) -> None:
        heard = False
        for effect in effects:
            match effect:
                case EmbeddingReady():
                    self.shared += effect.timing is None
                    self.policy.ready(effect, self._clock.now)
                case Lost():
                    self.policy.lost(effect)
                case EncodeFailed():
                    self.policy.encode_failed(effect)
                case _:
                    continue
            heard = True
        self._encode()
        if heard:
            self._after(0.0, self._go_on)

    def _encode(self) -> None:
        queue = [] if self._encoding else self.store.queue()
        if not queue:
            return
        self._encoding = True
        batch = choose(queue, self._pace.rows("image"))
        for job in batch:
            self.store.begin(job.key)
            self.store.read(job.key)
        rows, now = sum(job.rows for job in batch), self._clock.now
        seconds = self._times.encode.seconds(rows, self._random)
        self.encode_seconds += seconds
        self.encoded += len(batch)
        self._after(seconds, lambda: self._has_encoded([job.key for job in batch], rows, now))

    def _has_encoded(self, keys: list[str], rows: int, began: float) -> None:
        self._encoding = False
        now = self._clock.now
        self._pace.learn("image", rows, now - began)
        timing = Timing("encode", began, now)
        effects: list[StoreEffect] = []
        for key in keys:
            effects += self.store.encoded(key, BlobRef(key, 0, "uint8", (1,)), timing)
        self._effects(effects)


def _features(ask: Ask, picture: Picture) -> Features:
    values = BlobRef(picture.key, 0, "uint8", (max(1, int(picture.pixels * 1000)), 3))
    return Features(
        ask.id, "client-simulated.1", picture.key, "image", picture.rows, {"pixel_values": values}
    )
