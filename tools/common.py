"""What the measuring tools share: the preset they measure, and the pictures they are given."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from npstyle.errors import InputError
from npstyle.images.read import load_image
from npstyle.networks.network import Network, accelerate, load_network
from npstyle.run.settings import Settings

SETTINGS = Settings()
"""The preset `gatys`."""

WANTED = [*SETTINGS.content_layers, *SETTINGS.style_layers]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser for a photo, a painting and the network; its help is a tool's docstring."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("--network", default="vgg19", help="a file of weights or a name")
    return parser


def sizes(text: str) -> list[int]:
    """For an option of longest sides, commas between."""
    return [int(size) for size in text.split(",")]


def load_pictures(arguments: argparse.Namespace, size: int) -> tuple[Any, Any]:
    """The photo and the painting, at this longest side."""
    return load_image(arguments.photo, size), load_image(arguments.painting, size)


def load_fast(arguments: argparse.Namespace) -> Network:
    """The network on its fast route."""
    return accelerate(load_network(arguments.network), WANTED)


def run(main: Callable[[], None]) -> None:
    """Run a tool; of bad input it says the one sentence and exits with 2, as npstyle does."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
