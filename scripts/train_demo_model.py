"""Makes the bundled demo model, `demo_model/`, from pictures, clips and sounds that are drawn here;
or checks it.

    python scripts/train_demo_model.py                      train everything, about two hours on two
    cores python scripts/train_demo_model.py --stage save         write demo_model/ from the last
    checkpoint python scripts/train_demo_model.py --examine            ask demo_model/ through
    transformers' generate() python scripts/train_demo_model.py --check              ask it through
    `thespis serve`, started here python scripts/train_demo_model.py --check --base-url
    http://127.0.0.1:8000/v1

The stages are vision and sound (each tower alone, with heads of its own), language (the towers
stand still), together (all weights free) and save. Each keeps a checkpoint in --work and goes on
from there when it is started again.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from thespis.scripts.demo_training.check import check
from thespis.scripts.demo_training.checkpoints import load_weights
from thespis.scripts.demo_training.equality import verify
from thespis.scripts.demo_training.evaluation import SEEDS, examine_folder, table
from thespis.scripts.demo_training.media import write_media
from thespis.scripts.demo_training.network import build_network, parameter_count, save_folder
from thespis.scripts.demo_training.tokens import build_tokenizer
from thespis.scripts.demo_training.tower_training import train_tower
from thespis.scripts.demo_training.training import train

ROOT = Path(__file__).resolve().parent.parent
SEED = 7
STAGES = ("vision", "sound", "language", "together", "save")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument(
        "--language-minutes", type=float, default=15.0, help="for this stage, over all its runs"
    )
    parser.add_argument(
        "--together-minutes", type=float, default=50.0, help="for this stage, over all its runs"
    )
    parser.add_argument("--vision-steps", type=int, default=2000)
    parser.add_argument("--sound-steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="checkpoints")
    parser.add_argument("--out", type=Path, default=ROOT / "demo_model")
    parser.add_argument(
        "--examine", action="store_true", help="ask --out through transformers and print the table"
    )
    parser.add_argument(
        "--check", action="store_true", help="ask an engine over HTTP; exit status 1 if below 95 %%"
    )
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
    stages = STAGES if options.stage == "all" else (options.stage,)
    if "vision" in stages:
        train_tower(
            network, "vision", options.work, options.vision_steps, batch=128, peak=1e-3, seed=SEED
        )
    if "sound" in stages:
        train_tower(
            network, "sound", options.work, options.sound_steps, batch=48, peak=2e-3, seed=SEED
        )
    if "language" in stages:
        load_tower(network.model.visual, options.work / "vision.safetensors")
        load_tower(network.model.audio_tower, options.work / "sound.safetensors")
        logging.info("differs from transformers by at most %.1g", verify(network, tokenizer, SEED))
        path = options.work / "language.safetensors"
        train(network, tokenizer, "language", path, options.language_minutes, peak=1e-3, seed=SEED)
    if "together" in stages:
        network.load_state_dict(load_weights(options.work / "language.safetensors"))
        path = options.work / "together.safetensors"
        train(
            network, tokenizer, "together", path, options.together_minutes, peak=7e-4, seed=SEED + 1
        )
    if "save" in stages:
        together = options.work / "together.safetensors"
        network.load_state_dict(
            load_weights(together if together.exists() else options.work / "language.safetensors")
        )
        save_folder(network, tokenizer, options.out)
        write_media(options.out / "media")


def load_tower(tower: Any, path: Path) -> None:
    weights = load_weights(path)
    tower.load_state_dict(
        {name.removeprefix("tower."): w for name, w in weights.items() if name.startswith("tower.")}
    )


if __name__ == "__main__":
    sys.exit(main())
