"""Weights files: `npstyle weights`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from npstyle.cli.options import Command, argument, count, option
from npstyle.errors import InputError

if TYPE_CHECKING:
    from npstyle.maths.array import Array

WEIGHTS = "A weights file, or a name as for --network."


def _quiet() -> click.Parameter:
    return option("--quiet -q", "Print errors only.", is_flag=True)


@click.group()
def weights() -> None:
    """Download, convert, normalise and inspect weights files."""


def _convert_parameters() -> list[click.Parameter]:
    return [
        argument(
            "sources",
            "A VGG from Keras (.h5, .keras), PyTorch (.pth), safetensors, NumPy (.npz), MatConvNet "
            "(.mat) or Caffe (.caffemodel); or a style network: one of PyTorch's "
            "fast_neural_style (.pth, safetensors), or one or two ONNX files.",
            nargs=-1,
            required=True,
        ),
        argument("destination", "The file to write (.npz)."),
        option(
            "--input",
            "The input that a VGG expects, if the file does not show it: BGR, 0..255 (Caffe, "
            "Keras); RGB, normalised (torchvision); or RGB, 0..255.",
            type=click.Choice(["bgr", "rgb", "rgb255"]),
        ),
    ]


@weights.command("convert", cls=Command, parameters=_convert_parameters)
def weights_convert(sources: tuple[Path, ...], destination: Path, input: str | None = None) -> None:
    """Convert published weights to npstyle's format.

    The format is recognised by the file's content. No framework is needed, and nothing in a file
    is ever executed: a PyTorch file that asks for more than tensors is refused.

    [bold]npstyle weights convert vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5
    weights/vgg19.npz[/bold]

    [bold]npstyle weights convert arbitrary_predict.onnx arbitrary_transform.onnx
    weights/any_style.npz[/bold]

    The style networks of PyTorch's examples, fast_neural_style (candy.pth, mosaic.pth, or your
    own), become networks with one style:

    [bold]npstyle weights convert candy.pth weights/candy.npz[/bold], then
    [bold]npstyle stylize town.jpg --style candy.npz[/bold]
    """
    from npstyle.cli.console import preparation
    from npstyle.cli.style_console import print_style_network
    from npstyle.networks.convert import convert
    from npstyle.networks.convert_style import convert_style_network, reads_as_style_network

    if any(map(reads_as_style_network, sources)):
        print_style_network(convert_style_network(sources, destination), destination)
        return
    if len(sources) > 1:
        raise InputError(
            f"{sources[1]}: two files make a style network, and they must be ONNX; convert any "
            "other network from one file"
        )
    found = convert(sources[0], destination, input)
    print(f"{destination}: {found.name}, {len(found.tensors) // 2} convolutions")
    print(f"from {found.source}")
    print(f"input of the network: {preparation(found)}")
    if found.normalized:
        print(
            "its mean activations are 1: the preset `paper` is meant for it, and the other presets "
            "adapt the weight of the style"
        )


def _fetch_parameters() -> list[click.Parameter]:
    from npstyle.networks.fetch import PUBLISHED

    names = click.Choice(list(PUBLISHED))
    return [
        argument("name", "The network to download.", names, metavar="NAME"),
        _quiet(),
    ]


@weights.command("fetch", cls=Command, parameters=_fetch_parameters)
def weights_fetch(name: str, quiet: bool) -> None:
    """Download a published network (VGG-19: 80 MB), check its hash and convert it.

    The file is saved in your data directory and becomes the default network. Proxies are taken
    from the environment (HTTPS_PROXY).

    [bold]npstyle weights fetch vgg19[/bold]
    """
    from npstyle.cli.console import DownloadBar
    from npstyle.networks.fetch import fetch

    if quiet:
        fetch(name, say=lambda _: None)
    else:
        found = fetch(name, DownloadBar())
        print(f"{found.name}: {found.license}")


@weights.command("verify", cls=Command, parameters=lambda: [argument("file", WEIGHTS, str)])
def weights_verify(file: str) -> None:
    """Check that a network still gives the activations that its weights file stores.

    Prints the same as `info`, and compares the mean activation of every layer, on a picture drawn
    by formula, with the stored value. The exit code is 2 if one differs.
    """
    from npstyle.cli.console import print_check, print_weights
    from npstyle.networks.verify import check_activations
    from npstyle.networks.weights import find_weights, load_weights

    path = find_weights(file)
    found = load_weights(path)
    print_weights(found, path, (384, 512))
    print_check(check_activations(path, found))


def _info_parameters() -> list[click.Parameter]:
    return [
        argument("file", WEIGHTS, str),
        option(
            "--size",
            "Size of the picture for which shapes, multiplications and memory are shown.",
            default="512x384",
            metavar="SIDE|WIDTHxHEIGHT",
        ),
    ]


@weights.command("info", cls=Command, parameters=_info_parameters)
def weights_info(file: str, size: str) -> None:
    """Print a network as a table, and the source, licence and hash of its file."""
    from npstyle.cli.console import print_weights
    from npstyle.cli.style_console import print_style_network
    from npstyle.networks.style_network import is_style_network, load_style_network
    from npstyle.networks.weights import find_weights, load_weights
    from npstyle.run.experiments import parse_size

    path = find_weights(file)
    if is_style_network(path):
        print_style_network(load_style_network(path), path)
        return
    print_weights(load_weights(path), path, parse_size(size))


def _normalize_parameters() -> list[click.Parameter]:
    return [
        argument("source", WEIGHTS, str),
        argument("destination", "The file to write (.npz)."),
        argument("images", "Pictures; more are better.", nargs=-1, required=True),
        option(
            "--size",
            "Longest side to which larger pictures are reduced, in pixels.",
            default=512,
            metavar="N",
            type=int,
            callback=count,
        ),
        _quiet(),
    ]


@weights.command("normalize", cls=Command, parameters=_normalize_parameters)
def weights_normalize(
    source: str, destination: Path, images: tuple[Path, ...], size: int, quiet: bool
) -> None:
    """Scale every filter to a mean activation of 1 over pictures and positions, as in the paper.

    The preset `paper` is meant for such a network. The pictures are read one after another, so
    there may be any number of them; the paper used those of ImageNet.

    [bold]npstyle weights normalize vgg19 weights/vgg19_normalized.npz pictures/*.jpg[/bold]
    """
    from npstyle.files import check_destination
    from npstyle.images.read import image_size, load_image
    from npstyle.networks.normalize import check_normalized, filter_means, normalize
    from npstyle.networks.verify import with_check
    from npstyle.networks.weights import SUFFIXES, find_weights, load_weights, save_weights

    check_destination(destination, SUFFIXES)
    found = load_weights(find_weights(source))
    for path in images:
        image_size(path)  # finds bad pictures before the work starts

    def load(path: Path) -> "Array":
        return load_image(path, min(size, max(image_size(path))))

    def pictures() -> "Iterator[Array]":
        for k, path in enumerate(images, start=1):
            pixels = load(path)
            if not quiet:
                print(f"{k}/{len(images)}  {path}", flush=True)
            yield pixels

    means = filter_means(found, pictures())
    normalized = normalize(found, means)
    worst = check_normalized(found, normalized, means, load(images[0]))
    save_weights(destination, with_check(normalized) if found.check else normalized)
    if not quiet:
        silent = sum(int((mean == 0).sum()) for mean in means.values())
        print(f"the activations agree with the scaled originals to {worst:.0e} of the largest")
        if silent:
            print(f"{silent} filters were never active and keep their scale")
        print(f"wrote {destination}")
