"""Shared parts of the measuring tools: the measured preset, options, pictures, errors."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.device import CPU, engine_of
from npstyle.engine.machine import physical_cores
from npstyle.errors import InputError
from npstyle.images.read import load_image
from npstyle.maths.array import Array
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings

SETTINGS = Settings(init="content")
"""The preset `gatys`, always from the photo."""

WANTED = [*SETTINGS.content_layers, *SETTINGS.style_layers]
"""Names of the activations that the preset needs."""


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a photo, a painting and a network; `description` heads its help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path, help="file of the photo")
    parser.add_argument("painting", type=Path, help="file of the painting")
    parser.add_argument(
        "--network", default="vgg19", help="name or file of the network (default: %(default)s)"
    )
    return parser


def pairs_parser(description: str | None, size: int) -> argparse.ArgumentParser:
    """Return a parser for pairs of a photo and a painting, a network, and a size with a default."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, nargs="+", help="photo and painting of each pair")
    parser.add_argument("--network", default="vgg19", help="name or file (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=size, help="longest side in pixels (default: %(default)s)"
    )
    return parser


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tool that times two libraries in turn."""
    parser.add_argument(
        "--pairs", type=int, default=7, help="pairs of calls per figure (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=physical_cores(),
        help="threads of both libraries (default: one per physical core, here %(default)s)",
    )


def sizes(text: str) -> list[int]:
    """Read the value of an option such as --sizes 256,512."""
    return [int(size) for size in text.split(",")]


def load_pictures(arguments: argparse.Namespace, size: int) -> tuple[Array, Array]:
    """Load the photo and the painting, arrays (height, width, 3) with longest side `size`."""
    return load_image(arguments.photo, size), load_image(arguments.painting, size)


def load_fast(arguments: argparse.Namespace) -> BoundNetwork:
    """Load the network and bind it to the CPU on the fast route, as a run does."""
    network = load_network(arguments.network)
    return bind(network, WANTED, engine=engine_of(CPU, fast=True), route="fast")


def run(main: Callable[[], None]) -> None:
    """Run a tool; report bad input in one sentence and exit with code 2, as npstyle does."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
