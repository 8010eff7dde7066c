from thespis.actors.director.leases import Lease
from thespis.actors.director.roster import (
    STARTING_LEASES,
    ClientRecord,
    Member,
    RestartBudget,
    Roster,
    split_share,
)
from thespis.protocol.edges.control import Peer, Share


def member(role: str = "scheduler") -> Member:
    return Member(role, RestartBudget(5, 60.0))


def test_a_budget_is_spent_within_its_window_and_grows_back() -> None:
    budget = RestartBudget(2, 60.0)
    assert budget.spend(0.0, epoch=1)
    assert budget.spend(30.0, epoch=2)
    assert not budget.spend(59.9, epoch=3)
    assert budget.spend(60.0, epoch=3), "the first restart is out of the window"
    assert not budget.spend(61.0, epoch=4)


def test_what_is_given_back_can_be_spent_again() -> None:
    budget = RestartBudget(2, 60.0)
    assert budget.spend(0.0, epoch=1)
    assert budget.spend(1.0, epoch=2)
    budget.give_back((1, 1, 9))
    assert budget.spend(2.0, epoch=3)
    assert not budget.spend(3.0, epoch=4), "the second one has not been given back"


def test_each_incarnation_has_an_epoch_of_its_own_and_nothing_of_the_last() -> None:
    one = member()
    assert one.begin(1.0) == 1
    one.pid, one.state, one.excused, one.fatal = 7, "ready", True, "torn"
    one.peer = Peer(1, 7, "a", "b")
    one.end()
    assert one == Member(
        "scheduler", one.budget, epoch=1, state="gone", lease=Lease(1.0), excused=True, fatal="torn"
    )
    assert one.begin(2.0) == 2
    assert one == Member("scheduler", one.budget, epoch=2, state="starting", lease=Lease(2.0))


def test_the_table_holds_who_is_ready_clients_included() -> None:
    ready, starting = member("scheduler"), member("fetcher")
    ready.peer = Peer(1, 7, "in", "ctl", {"blocks 0": 9})
    client = ClientRecord(0, 8, b"a", Peer(0, 8, "c", "d"))
    roster = Roster(
        {"scheduler": ready, "fetcher": starting},
        {"client-a": client, "client-b": ClientRecord(0, 9, b"b")},
    )
    assert set(roster.table().peers) == {"scheduler", "client-a"}
    assert not roster.ready


def test_patience_is_a_start_before_hello_some_leases_while_loading_and_a_lease_from_then_on() -> (
    None
):
    new, loading, ready, unmade = (member(role) for role in "abcd")
    for pid, one in enumerate((new, loading, ready), 1):
        one.begin(100.0)
        one.pid = pid
    loading.identity, ready.identity, ready.state = b"b", b"c", "ready"
    holders = Roster({one.role: one for one in (new, loading, ready, unmade)}).holders(
        lease=10.0, hello=60.0
    )
    assert [holder.patience for holder in holders] == [60.0, 10.0 * STARTING_LEASES, 10.0]
    assert [holder.has_heart for holder in holders] == [False, True, True]


def test_a_share_is_divided_and_never_nothing() -> None:
    whole = Share(10, 100, 3)
    assert split_share(whole, 0) == split_share(whole, 1) == whole
    assert split_share(whole, 4) == Share(2, 25, 1)


def test_the_http_server_is_a_client_from_its_hello_to_its_death() -> None:
    http, joined = member("http"), ClientRecord(0, 9, b"b")
    roster = Roster({"scheduler": member(), "http": http}, {"client-b": joined})
    http.begin(0.0)
    http.pid = 7
    assert roster.clients == {"client-b": joined}
    http.identity = b"h"
    assert roster.clients == {"http": http, "client-b": joined}
    http.end()
    assert roster.clients == {"client-b": joined}
