"""The policy of the router alone: likes meet, and nobody has more to do than the others."""

import random
from collections import Counter, defaultdict, deque

import pytest

from thespis.frontends.ray.affinity import CALM, LOAD, MOST_KEYS, Affinity
from thespis.frontends.ray.keys import LikeKeys

Where = dict[str, Counter[str]]


def played(
    policy: Affinity, calls: list[LikeKeys], replicas: list[str], at_once: int
) -> tuple[Counter[str], Where, int]:
    """Calls in their order, `at_once` of them under way. Per replica how many, per first key where,
    and how far the busiest was ever above the mean and what is calm."""
    sent: Counter[str] = Counter()
    where: Where = defaultdict(Counter)
    under_way: deque[str] = deque()
    most = 0
    for number, keys in enumerate(calls):
        best = policy.order(str(number), keys, replicas)[0]
        sent[best] += 1
        where[keys.own[0] if keys.own else keys.shared][best] += 1
        under_way.append(str(number))
        allowed = CALM + LOAD * len(under_way) / len(replicas) + 1
        most = max(most, policy.load[best] - int(allowed))
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


def test_a_caller_alone_stays_where_his_conversation_is() -> None:
    sent, _, _ = played(
        Affinity(), [LikeKeys(("talk",), "system")] * 50, ["a", "b", "c"], at_once=1
    )
    assert list(sent.values()) == [50]


def test_two_doors_send_most_keys_to_the_same_replica() -> None:
    """They tell each other nothing: rendezvous hashing makes them agree."""
    replicas = ["a", "b", "c", "d"]
    calls = [LikeKeys((f"key{n}",)) for n in range(4000)]
    order = list(calls)
    random.Random(1).shuffle(order)
    _, one, _ = played(Affinity(), calls, replicas, at_once=1)
    _, other, _ = played(Affinity(), order, replicas, at_once=1)
    same = sum(one[key].keys() == other[key].keys() for key in one)
    assert same >= 0.85 * len(calls)


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
    policy = Affinity()
    for n in range(20):
        order = policy.order(str(n), LikeKeys((str(n),)), ["a", "b", "c"], avoid=["b"])
        assert order[-1] == "b"
    assert policy.order("last", LikeKeys(), ["b"], avoid=["b"]) == ["b"]
    assert policy.order("none", LikeKeys(), []) == []


def test_a_request_counts_once_however_often_it_is_asked_for_or_moved() -> None:
    policy = Affinity()
    for _ in range(3):
        best = policy.order("one", LikeKeys(("k",)), ["a", "b"])[0]
    assert policy.load == {best: 1}
    policy.moved("one", "z")
    assert policy.load == {"z": 1}
    policy.over("one")
    policy.over("one")
    assert not policy.load


def test_what_is_remembered_is_bounded() -> None:
    policy = Affinity()
    for n in range(MOST_KEYS + 10):
        policy.order("same", LikeKeys((str(n),)), ["a", "b"])
    policy.over("same")
    assert len(policy._homes) == MOST_KEYS == sum(policy._kept.values())
