"""What developers measure: `scripts/dev bench NAME`. For users: `thespis bench`."""

import argparse


def parser_of(name: str, about: str | None, model: bool = False) -> argparse.ArgumentParser:
    """Of `scripts/dev bench NAME`; `about`: its docstring, shown as it is written. `model`: it
    takes a checkpoint, or makes one."""
    parser = argparse.ArgumentParser(
        prog=f"scripts/dev bench {name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if model:
        text = "folder of a checkpoint; default: a random one of shape S"
        parser.add_argument("model", nargs="?", help=text)
    return parser
