"""The policy of the router alone: likes meet, and nobody has more to do than the others."""

import math
import random
from collections import Counter, defaultdict, deque

import pytest

from thespis.frontends.ray import affinity
from thespis.frontends.ray.affinity import CALM, LOAD, Affinity
from thespis.frontends.ray.keys import LikeKeys
from thespis.frontends.ray.levels import Levels
from thespis.frontends.ray.ring import FEW

Where = dict[str, Counter[str]]


def with_replicas(*names: str) -> Affinity:
    policy = Affinity()
    policy.update(names)
    return policy


def played(
    policy: Affinity, calls: list[LikeKeys], replicas: list[str], at_once: int
) -> tuple[Counter[str], Where, int]:
    """Calls in their order, `at_once` of them under way. Per replica how many, per first key where,
    and how far the busiest was ever above the mean and what is calm."""
    sent: Counter[str] = Counter()
    where: Where = defaultdict(Counter)
    under_way: deque[str] = deque()
    most = 0
    policy.update(replicas)
    for number, keys in enumerate(calls):
        best = policy.order(str(number), keys)[0]
        sent[best] += 1
        where[keys.own[0] if keys.own else keys.shared][best] += 1
        under_way.append(str(number))
        allowed = CALM + LOAD * len(under_way) / len(replicas) + 1
        most = max(most, policy.load.counts[best] - int(allowed))
        if len(under_way) >= at_once:
            policy.over(under_way.popleft())
    return sent, where, most


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("pictures", [24, 80, 400])
def test_a_picture_has_one_replica_and_all_replicas_have_as_much(count: int, pictures: int) -> None:
    calls = [LikeKeys((f"picture{n % pictures}",)) for n in range(pictures * 8)]
    random.Random(pictures).shuffle(calls)
    replicas = [f"r{n}" for n in range(count)]
    sent, where, most = played(Affinity(), calls, replicas, at_once=4 * count)
    assert all(abs(sent[one] * count / len(calls) - 1) <= 0.2 for one in replicas), sent
    stayed = sum(max(homes.values()) for homes in where.values())
    assert stayed >= 0.95 * len(calls)
    assert most <= 0


def test_what_everybody_wants_is_everywhere() -> None:
    """One picture, asked by all at once: its home takes no more than its share."""
    replicas = ["a", "b", "c", "d"]
    sent, _, most = played(Affinity(), [LikeKeys(("it",))] * 4000, replicas, at_once=64)
    assert max(sent.values()) <= 0.36 * 4000
    assert most <= 0


@pytest.mark.parametrize("doors", [1, 2, 4])
def test_nobody_waits_at_a_replica_while_another_has_room(doors: int) -> None:
    """A replica has come because another was full: what is asked for next it gets, whoever has the
    likes of it. Beyond what both run, each has its part."""
    policies = [Affinity(doors, at_once=4) for _ in range(doors)]
    under_way: Counter[str] = Counter()
    for n in range(32):
        if n == 4:
            for policy in policies:
                policy.update(["a", "b"])
        elif n == 0:
            for policy in policies:
                policy.update(["a"])
        under_way[policies[n % doors].order(str(n), LikeKeys(("it",)))[0]] += 1
        if n == 7:
            assert under_way == {"a": 4, "b": 4}
    assert max(under_way.values()) <= CALM + LOAD * 16 + doors


@pytest.mark.parametrize("doors", [1, 2, 4])
def test_a_replica_that_has_come_gets_what_is_asked_for_next(doors: int) -> None:
    """However many wait at another one, which has the likes of it."""
    policies = [Affinity(doors, at_once=4) for _ in range(doors)]
    for policy in policies:
        policy.update(["a"])
    for n in range(8):
        policies[n % doors].order(str(n), LikeKeys(("it",)))
    for policy in policies:
        policy.update(["a", "b"])
    bests = [policies[n % doors].order(str(n), LikeKeys(("it",)))[0] for n in range(8, 12)]
    assert bests == ["b"] * 4


def test_a_caller_alone_stays_where_his_conversation_is() -> None:
    sent, _, _ = played(
        Affinity(), [LikeKeys(("talk",), "system")] * 50, ["a", "b", "c"], at_once=1
    )
    assert list(sent.values()) == [50]


def test_two_doors_send_most_keys_to_the_same_replica() -> None:
    """They tell each other nothing: consistent hashing makes them agree."""
    replicas = ["a", "b", "c", "d"]
    calls = [LikeKeys((f"key{n}",)) for n in range(4000)]
    order = list(calls)
    random.Random(1).shuffle(order)
    _, one, _ = played(Affinity(), calls, replicas, at_once=1)
    _, other, _ = played(Affinity(), order, replicas, at_once=1)
    same = sum(one[key].keys() == other[key].keys() for key in one)
    assert same >= 0.85 * len(calls)


@pytest.mark.parametrize("doors", [1, 2, 8])
def test_doors_allow_together_what_one_would(doors: int) -> None:
    """Each knows its own requests alone. All ask for one picture, two requests for each replica."""
    replicas = [f"r{n}" for n in range(32)]
    policies = [Affinity(doors) for _ in range(doors)]
    for number, policy in enumerate(policies):
        policy.update(random.Random(number).sample(replicas, len(replicas)))
    under_way: Counter[str] = Counter()
    for n in range(2 * len(replicas)):
        under_way[policies[n % doors].order(str(n), LikeKeys(("it",)))[0]] += 1
    assert max(under_way.values()) <= CALM + 2 * LOAD + doors


def test_when_a_replica_goes_only_what_it_had_moves() -> None:
    policy, calls = Affinity(), [LikeKeys((f"key{n}",)) for n in range(300)]
    _, before, _ = played(policy, calls, ["a", "b", "c"], at_once=1)
    _, after, _ = played(policy, calls, ["a", "b"], at_once=1)
    for key, homes in before.items():
        if "c" not in homes:
            assert after[key] == homes


def test_requests_without_keys_go_where_there_is_least_to_do() -> None:
    sent, _, _ = played(Affinity(), [LikeKeys()] * 400, ["a", "b", "c", "d"], at_once=8)
    assert set(sent.values()) == {100}


def test_who_has_failed_comes_last_and_is_asked_where_nobody_else_is_left() -> None:
    policy = with_replicas("a", "b", "c")
    for n in range(20):
        order = policy.order(str(n), LikeKeys((str(n),)), avoid=["b"])
        assert order[-1] == "b"
        assert sorted(order) == ["a", "b", "c"]
    policy.update(["b"])
    assert policy.order("last", LikeKeys(), avoid=["b", "gone"]) == ["b"]
    policy.update([])
    assert policy.order("none", LikeKeys()) == []


def test_a_request_counts_once_however_often_it_is_asked_for_or_moved() -> None:
    policy = with_replicas("a", "b")
    for _ in range(3):
        best = policy.order("one", LikeKeys(("k",)))[0]
    assert policy.load.counts == {best: 1}
    policy.moved("one", "z")
    assert policy.load.counts == {"z": 1}
    policy.over("one")
    policy.over("one")
    assert not policy.load.counts


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MOST_KEYS", 100)
    policy = with_replicas("a", "b")
    for n in range(150):
        policy.order("same", LikeKeys((str(n),)))
    policy.over("same")
    assert len(policy._homes) == 100 == policy.kept.total


@pytest.mark.parametrize("count", [4, 100, 1000])
def test_a_decision_looks_at_few_replicas_however_many_there_are(
    count: int,
) -> None:
    """Counted, since times say little here: of homes, of new keys and of what has none."""
    policy = with_replicas(*(f"r{n}" for n in range(count)))
    looks = 0

    class Counted(Counter[str]):
        def __getitem__(self, name: str) -> int:
            nonlocal looks
            looks += 1
            return super().__getitem__(name)

    policy.load.counts, policy.kept.counts = Counted(), Counted()
    asked = random.Random(count)
    for n in range(3 * count):
        keys = LikeKeys((f"key{asked.randrange(count)}",), asked.choice(["", "system"]))
        before = looks
        order = policy.order(str(n), asked.choice([keys, LikeKeys()]))
        assert looks - before <= 80
        assert len(order) == min(count, FEW)
        if n > count:
            policy.over(str(n - count))


def test_many_replicas_have_as_much_too() -> None:
    count = 200
    calls = [LikeKeys((f"picture{n % (20 * count)}",)) for n in range(40 * count)]
    random.Random(count).shuffle(calls)
    sent, where, most = played(Affinity(), calls, [f"r{n}" for n in range(count)], 4 * count)
    assert all(abs(sent[f"r{n}"] * count / len(calls) - 1) <= 0.2 for n in range(count))
    assert sum(max(homes.values()) for homes in where.values()) >= 0.95 * len(calls)
    assert most <= 0


def test_who_has_no_room_is_not_asked_first_again() -> None:
    """Other callers have filled most replicas, of which this one knows nothing."""
    policy = with_replicas(*(f"r{n}" for n in range(60)))
    tried: set[str] = set()
    for _ in range(60 // (FEW - 1) + 2):
        tried.update(policy.order("one", LikeKeys(("k",))))
    assert len(tried) == 60


def test_a_replica_that_comes_gets_what_is_new_until_it_has_as_much() -> None:
    policy, replicas = Affinity(), ["a", "b", "c", "d"]
    calls = [LikeKeys((f"key{n}",)) for n in range(800)]
    played(policy, calls[:400], replicas[:3], at_once=1)
    sent, _, _ = played(policy, calls[400:], replicas, at_once=1)
    assert max(policy.kept.counts.values()) - min(policy.kept.counts.values()) <= 25
    assert sent["d"] == max(sent.values())


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_and_goes_the_books_are_right_and_nobody_has_more_than_its_share(
    seed: int,
) -> None:
    """Replicas that come and go, fail or have no room, requests that are asked for again, and keys
    of which a few are asked for most."""
    drawn = random.Random(seed)
    doors, names = drawn.choice([1, 2, 8]), [f"r{n}" for n in range(drawn.choice([1, 3, 7, 30]))]
    policy, there, under_way = Affinity(doors), set[str](), dict[str, str]()
    for step in range(300):
        match drawn.randrange(20):
            case 0:
                there = set(drawn.sample(names, drawn.randint(0, len(names))))
                policy.update(there)
            case 1 if under_way:
                id = drawn.choice(list(under_way))
                under_way[id] = drawn.choice(names)
                policy.moved(id, under_way[id])
            case 2 | 3 | 4 | 5 if under_way:
                id = drawn.choice(list(under_way))
                policy.over(id)
                del under_way[id]
            case 6 if under_way:
                _asked(policy, drawn, drawn.choice(list(under_way)), there, under_way, doors)
            case _:
                _asked(policy, drawn, str(step), there, under_way, doors)
        assert policy.load.counts == Counter(under_way.values())
        assert policy.kept.counts == Counter(policy._homes.values())


def _asked(
    policy: Affinity,
    drawn: random.Random,
    id: str,
    there: set[str],
    under_way: dict[str, str],
    doors: int,
) -> None:
    own = tuple(f"key{int(drawn.paretovariate(0.7))}" for _ in range(drawn.randrange(4)))
    failed = (
        drawn.sample(sorted(there), drawn.randint(0, len(there))) if drawn.random() < 0.2 else []
    )
    order = policy.order(id, LikeKeys(own, drawn.choice(["", "system"])), [*failed, "gone"])
    under_way.pop(id, None)
    assert len(set(order)) == len(order) == min(FEW, len(there))
    assert there.issuperset(order)
    if not order:
        return
    under_way[id] = order[0]
    able = there.difference(failed) or there
    assert [one in able for one in order] == sorted((one in able for one in order), reverse=True)
    load = Counter(where for where in under_way.values() if where in able)
    assert load[order[0]] <= math.ceil(CALM / doors + LOAD * load.total() / len(able))


def test_levels_say_what_a_look_at_everybody_says() -> None:
    drawn, levels, names = random.Random(7), Levels(), [f"r{n}" for n in range(12)]
    counts: Counter[str] = Counter()
    there: set[str] = set()
    for _ in range(4000):
        name = drawn.choice(names)
        match drawn.randrange(5):
            case 0:
                levels.join(name)
                there.add(name)
            case 1 if drawn.random() < 0.5:
                levels.leave(name)
                there.discard(name)
            case 2 if counts[name]:
                levels.add(name, -1)
                counts[name] -= 1
            case 3 | 4:
                levels.add(name, 1)
                counts[name] += 1
        had = sorted(counts[one] for one in there)
        assert levels.total == sum(had)
        assert levels.fewest == min(had, default=0)
        assert [counts[one] for one in levels.least(5)] == had[:5]
        assert levels.counts == +counts
