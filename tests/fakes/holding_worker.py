"""The real decode worker, at which every clip takes half a minute."""

import time

from thespis.actors.decode_worker.actor import DecodeWorker
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.decode_worker_to_preprocessor import Decoded, DecodeFailed
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode

SECONDS = 30.0


class HoldingWorker(DecodeWorker):
    def _decode(self, job: Decode) -> Decoded | DecodeFailed:
        if job.item.modality == "video":
            time.sleep(SECONDS)
        return super()._decode(job)


def main(launch: Launch) -> None:
    HoldingWorker(launch).run()
