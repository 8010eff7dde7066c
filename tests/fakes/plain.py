"""An actor that does nothing but live: for engines of fakes."""

from thespis.actors.actor import Actor, run
from thespis.actors.launch import Launch


def main(launch: Launch) -> None:
    run(Actor(launch))
