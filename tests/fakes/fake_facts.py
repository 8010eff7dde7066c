"""Plays the process that finds out what the model is, as FAKE_FACTS says: `tells`, `refuses`,
`dies`, `overtaken` by the news of its death, or `killed` once."""

import os
import signal
import sys
import time

import msgspec
import zmq

from thespis.actors.kernel.launch import Launch
from thespis.actors.kernel.link import DirectorLink
from thespis.protocol.config.roles import FactsConfig
from thespis.protocol.edges.control import Facts, Fatal, Welcome
from thespis.tests.helpers.facts import DEMO


def main(launch: Launch) -> None:
    how = os.environ.get("FAKE_FACTS", "tells")
    if how == "killed" and launch.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "dies":
        sys.exit("no such luck")
    alive, mine = os.pipe()
    if how == "overtaken" and not os.fork():
        os.close(mine)
        os.read(alive, 1)  # until its parent has died
        time.sleep(0.1)
        speak(launch)
        os._exit(0)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = DirectorLink(context, launch.run_dir, launch.role, launch.epoch)
    welcome = link.hello()
    assert isinstance(welcome, Welcome)
    config = msgspec.json.decode(welcome.config, type=FactsConfig)
    time.sleep(0.5)  # the others have said Hello meanwhile
    if how == "refuses":
        link.send(Fatal(launch.role, launch.epoch, f"The model in {config.model!r} is of no use."))
    elif how != "overtaken":
        link.send(Facts(launch.role, launch.epoch, DEMO))
    link.close()
    context.term()


def speak(launch: Launch) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = DirectorLink(context, launch.run_dir, launch.role, launch.epoch)
    link.send(Facts(launch.role, launch.epoch, DEMO))
    link.close()
    context.term()
