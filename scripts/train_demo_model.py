"""Makes the bundled demo model, `demo_model/`, from pictures, clips and sounds that are drawn here; or checks it.

    python scripts/train_demo_model.py                      train everything, about two hours on two cores
    python scripts/train_demo_model.py --stage save         write demo_model/ from the last checkpoint
    python scripts/train_demo_model.py --examine            ask demo_model/ through transformers' generate()
    python scripts/train_demo_model.py --check              ask it through `thespis serve`, started here
    python scripts/train_demo_model.py --check --base-url http://127.0.0.1:8000/v1

Each stage keeps a checkpoint in --work and goes on from there when it is started again. The two tower stages are
independent and may run side by side; `language` needs both.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from thespis.scripts.demo_training.check import check
from thespis.scripts.demo_training.evaluation import SEEDS, examine_folder, table
from thespis.scripts.demo_training.media import write_media
from thespis.scripts.demo_training.network import build_network, parameter_count, save_folder
from thespis.scripts.demo_training.tokens import build_tokenizer
from thespis.scripts.demo_training.tower_training import train_tower
from thespis.scripts.demo_training.training import train

ROOT = Path(__file__).resolve().parent.parent
SEED = 7


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("all", "vision", "sound", "language", "save"), default="all")
    parser.add_argument("--minutes", type=float, default=80.0, help="time for the language stage, over all its runs")
    parser.add_argument("--vision-steps", type=int, default=2000)
    parser.add_argument("--sound-steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="checkpoints")
    parser.add_argument("--out", type=Path, default=ROOT / "demo_model")
    parser.add_argument("--examine", action="store_true", help="ask --out through transformers and print the table")
    parser.add_argument("--check", action="store_true", help="ask an engine over HTTP; exit status 1 if below 95 %%")
    parser.add_argument("--base-url", help="of the engine to check; without it one is started")
    parser.add_argument("--samples", type=int, default=200, help="of each kind and seed")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.check:
        return 0 if check(options.base_url, options.samples) else 1
    torch.set_num_threads(options.threads)
    if not options.examine:
        options.work.mkdir(parents=True, exist_ok=True)
        make(options)
    if options.examine or options.stage == "all":
        print(table(examine_folder(options.out, SEEDS, options.samples, print)))
    return 0


def make(options: argparse.Namespace) -> None:
    tokenizer = build_tokenizer()
    network = build_network(tokenizer, SEED)
    logging.info("%d parameters, %d tokens", parameter_count(network), len(tokenizer))
    stage = options.stage
    if stage in ("all", "vision"):
        train_tower(network, "vision", options.work, options.vision_steps, batch=128, peak=1e-3, seed=SEED)
    if stage in ("all", "sound"):
        train_tower(network, "sound", options.work, options.sound_steps, batch=48, peak=2e-3, seed=SEED)
    if stage == "language":
        load_tower(network.model.visual, options.work / "vision.pt")
        load_tower(network.model.audio_tower, options.work / "sound.pt")
    if stage in ("all", "language"):
        train(network, tokenizer, options.work, options.minutes, peak=1e-3, seed=SEED)
    if stage == "save":
        network.load_state_dict(torch.load(options.work / "model.pt", weights_only=True)["weights"])
    if stage in ("all", "save"):
        save_folder(network, tokenizer, options.out)
        write_media(options.out / "media")


def load_tower(tower: Any, path: Path) -> None:
    weights = torch.load(path, weights_only=True)["weights"]
    tower.load_state_dict({name.removeprefix("tower."): w for name, w in weights.items() if name.startswith("tower.")})


if __name__ == "__main__":
    sys.exit(main())
