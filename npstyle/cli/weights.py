"""Files of weights: `npstyle weights`."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from npstyle.cli import console


class Published(StrEnum):
    """The networks that can be fetched."""

    VGG16 = "vgg16"
    VGG19 = "vgg19"


app = typer.Typer(no_args_is_help=True, help="Convert, normalise and inspect files of weights.")


@app.command("convert")
def weights_convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A VGG from Keras (.h5), PyTorch (.pth), safetensors, MatConvNet (.mat) or Caffe "
            "(.caffemodel)."
        ),
    ],
    destination: Annotated[Path, typer.Argument(help="The file to write (.npz).")],
) -> None:
    """Convert published weights to npstyle's format.

    The format is recognised by the file's content. None of the frameworks is needed, and nothing in
    a file is ever executed: a PyTorch file that asks for more than tensors is refused.

    [bold]npstyle weights convert vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5
    weights/vgg19.npz[/bold]
    """
    from npstyle.networks.convert import convert

    weights = convert(source, destination)
    print(f"{destination}: {weights.name}, {len(weights.tensors) // 2} convolutions")
    print(f"from {weights.source}")
    print(f"pictures go in as {console.preparation(weights)}")


@app.command("fetch")
def weights_fetch(
    name: Annotated[Published, typer.Argument(help="The network to download.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Download a published network (VGG-19: 80 MB), check its hash and convert it.

    It goes into your data directory and is used from then on. Proxies are taken from the
    environment (HTTPS_PROXY).

    [bold]npstyle weights fetch vgg19[/bold]
    """
    from npstyle.networks.fetch import fetch

    if quiet:
        fetch(name, say=lambda _: None)
    else:
        weights = fetch(name, console.DownloadBar())
        print(f"{weights.name}: {weights.license}")


@app.command("verify")
def weights_verify(
    file: Annotated[str, typer.Argument(help="A file of weights, or a name as for --network.")],
) -> None:
    """Read a file again from the start, and hold its activations against those it was made with.

    Every figure that `info` prints is recomputed, then the mean activation of every layer on a
    picture drawn by a formula. Whatever differs ends in exit code 2.
    """
    from npstyle.networks.verify import check_activations
    from npstyle.networks.weights import find_weights, load_weights

    path = find_weights(file)
    weights = load_weights(path)
    console.print_weights(weights, path, (384, 512))
    console.print_check(check_activations(path, weights))


@app.command("info")
def weights_info(
    file: Annotated[str, typer.Argument(help="A file of weights, or a name as for --network.")],
    size: Annotated[
        str,
        typer.Option(
            metavar="SIDE|WIDTHxHEIGHT",
            help="Size of the picture whose shapes, multiplications and memory are shown.",
        ),
    ] = "512x384",
) -> None:
    """Draw a network as a table, and print source, licence and hash of its file."""
    from npstyle.networks.weights import find_weights, load_weights
    from npstyle.run.experiments import parse_size

    path = find_weights(file)
    console.print_weights(load_weights(path), path, parse_size(size))


@app.command("normalize")
def weights_normalize(
    source: Annotated[str, typer.Argument(help="A file of weights, or a name as for --network.")],
    destination: Annotated[Path, typer.Argument(help="The file to write (.npz).")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, the more the better.")],
    size: Annotated[int, typer.Option(help="Longest side that they are scaled down to.")] = 512,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Scale every filter to a mean activation of 1 over images and positions, as the paper did.

    With such a network the preset `paper` is literal. The pictures are looked at one after another,
    so there may be any number of them; the paper took those of ImageNet.

    [bold]npstyle weights normalize vgg19 weights/vgg19_normalized.npz pictures/*.jpg[/bold]
    """
    from npstyle.files import check_destination
    from npstyle.images.read import image_size, load_image
    from npstyle.networks.normalize import check_normalized, filter_means, normalize
    from npstyle.networks.verify import with_check
    from npstyle.networks.weights import SUFFIXES, find_weights, load_weights, save_weights

    check_destination(destination, SUFFIXES)
    weights = load_weights(find_weights(source))
    for path in images:
        image_size(path)  # a bad picture is told before the work starts

    def load(path: Path) -> Any:
        return load_image(path, min(size, max(image_size(path))))

    def pictures() -> Iterator[Any]:
        for k, path in enumerate(images, start=1):
            pixels = load(path)
            if not quiet:
                print(f"{k}/{len(images)}  {path}", flush=True)
            yield pixels

    means = filter_means(weights, pictures())
    normalized = normalize(weights, means)
    worst = check_normalized(weights, normalized, means, load(images[0]))
    save_weights(destination, with_check(normalized) if weights.check else normalized)
    if not quiet:
        silent = sum(int((mean == 0).sum()) for mean in means.values())
        print(f"activations are the scaled originals to {worst:.0e} of the largest")
        if silent:
            print(f"{silent} filters were active nowhere and keep their scale")
        print(f"wrote {destination}")
