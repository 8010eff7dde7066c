"""What every role stands on: how a process is launched and ends, its sockets, its loop, its limits.

An actor is one role and one loop: it changes its own state, and speaks to others by messages of the
edges that `protocol/topology.py` names. This one is a whole fetcher. The director starts it as the
module of its role:

    from thespis.actors.kernel.actor import Actor, run
    from thespis.protocol.edges.client_to_fetcher import Fetch
    from thespis.protocol.edges.shared import RequestFailed
    from thespis.protocol.errors import Failure

    class Refuser(Actor):
        def on_message(self, sender, message):
            match message:
                case Fetch(request):
                    failure = Failure("media_unavailable", "Nothing is fetched today.")
                    self.send(request.client, RequestFailed(request.id, request.attempt, failure))

    def main(launch):
        run(Refuser(launch))

What else it may override is told by `BaseActor`. An actor that computes is a `BlockingActor`,
without an event loop.
"""
