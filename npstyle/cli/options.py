"""Options that several commands share, each with its help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

LOOK, STYLE, LOSS, SEARCH = "The picture", "Several paintings, colours", "The losses", "The search"
RECORD, MACHINE = "What is kept of the run", "The machine"


class PoolingChoice(StrEnum):
    """Ways of pooling."""

    avg = "avg"
    max = "max"
    l2 = "l2"


class OptimizerChoice(StrEnum):
    """Optimisers."""

    lbfgs = "lbfgs"
    adam = "adam"


class DtypeChoice(StrEnum):
    """Precisions of the engine."""

    float32 = "float32"
    float64 = "float64"


class PrecisionChoice(StrEnum):
    """What a GPU multiplies in."""

    float32 = "float32"
    tf32 = "tf32"
    fp16 = "fp16"


Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Where to write: .png, .jpg, .webp or .tif (16 bit). "
        "[dim]Default: a .png here, named after the pictures.[/dim]",
        rich_help_panel=LOOK,
    ),
]
NetworkName = Annotated[
    str | None,
    typer.Option(
        metavar="builtin|vgg19|FILE",
        help="builtin, vgg19, or another file of weights: a path, or a name found in weights/ or "
        "the user's data directory. `npstyle weights fetch vgg19` gets VGG-19. "
        "[dim]Default: vgg19 where installed, else builtin.[/dim]",
        rich_help_panel=LOOK,
    ),
]
Size = Annotated[
    int, typer.Option(help="Longest side of the result, in pixels.", rich_help_panel=LOOK)
]
Pooling = Annotated[
    PoolingChoice | None, typer.Option(help="How the network pools.", rich_help_panel=LOSS)
]
TvWeight = Annotated[
    float | None,
    typer.Option(help="How much smoothness counts (total variation).", rich_help_panel=LOSS),
]
Iterations = Annotated[
    int | None,
    typer.Option(
        help="Steps of the optimiser; at each scale but the first, half as many.",
        rich_help_panel=SEARCH,
    ),
]
Optimizer = Annotated[
    OptimizerChoice,
    typer.Option(
        help="lbfgs converges fastest; adam needs a quarter of its memory.",
        rich_help_panel=SEARCH,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.", rich_help_panel=SEARCH)]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Worker threads. [dim]Default: one per physical core.[/dim]", rich_help_panel=MACHINE
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to compute. auto: on the first NVIDIA card if it works, else on the CPU. A "
        "card needs CuPy: npstyle\\[cuda13] or npstyle\\[cuda12].",
        rich_help_panel=MACHINE,
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        metavar="auto|off|N",
        help="Work on the picture in tiles of N pixels, with the same gradient as in one piece, in "
        "much less memory and up to twice the time. auto: where the picture does not fit.",
        rich_help_panel=MACHINE,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory that the program may take, such as 4GB: tiles, and what the search "
        "remembers, are chosen to fit. [dim]Default: 80 % of what is free.[/dim]",
        rich_help_panel=MACHINE,
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep what is as large as the picture in files there while the program runs.",
        rich_help_panel=MACHINE,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Have a Dask cluster work on the tiles: its scheduler's host:port or file, or local:N "
        "for N processes here. Needs npstyle\\[cluster].",
        rich_help_panel=MACHINE,
    ),
]
Dtype = Annotated[
    DtypeChoice, typer.Option(help="Precision of the engine.", rich_help_panel=MACHINE)
]
Precision = Annotated[
    PrecisionChoice,
    typer.Option(
        help="What a GPU multiplies in. tf32 and fp16 keep 11 bits of each number and run on its "
        "tensor cores; sums are float32.",
        rich_help_panel=MACHINE,
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Plain sums also in float32: no Winograd convolution. Slower; the losses differ "
        "by rounding.",
        rich_help_panel=MACHINE,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=MACHINE)
]
