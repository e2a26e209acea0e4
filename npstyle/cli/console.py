"""Output of the command line: plan, progress, result and tables."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.syntax import Syntax
from rich.table import Table

if TYPE_CHECKING:
    from npstyle.engine.device import Device
    from npstyle.lab.gradcheck import Report
    from npstyle.networks.style_network import StyleNetwork
    from npstyle.networks.weights import Weights
    from npstyle.run.plan import Plan
    from npstyle.search.optimize import Result

OTHER_NETWORK = {
    "builtin": (
        "          small and fast; VGG-19 gives finer detail and takes longer:\n"
        "          `npstyle weights fetch vgg19` downloads it once (80 MB)\n"
    ),
    "vgg19": "          --network builtin is faster and needs a fraction of the memory\n",
}
"""Hint about the other network, printed where the user did not choose one."""


class DownloadBar:
    """A progress bar for a download, with the interface that pooch expects; terminal only."""

    def __init__(self) -> None:
        self.total = 0
        self.bar = Progress(
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            expand=True,
            disable=not sys.stdout.isatty(),
        )
        self.task = self.bar.add_task("")

    def update(self, count: int) -> None:
        """Add this many bytes."""
        self.bar.start()
        self.bar.update(self.task, total=self.total, advance=count)

    def reset(self) -> None:
        """Start again at 0."""
        self.bar.reset(self.task)

    def close(self) -> None:
        """Stop the bar and leave it as it is."""
        self.bar.stop()


def print_plan(plan: "Plan", asked_for: str | None, output: Path) -> None:
    """Print what a run will do: network, device, sizes, memory."""
    settings = plan.settings
    sizes, paintings = (
        " ".join(f"{width}x{height}" for height, width in sizes)
        for sizes in (plan.photo_sizes, plan.painting_sizes)
    )
    print(f"network   {plan.network.name}, {settings.pooling} pooling, {settings.dtype}")
    if asked_for is None:
        print(OTHER_NETWORK.get(plan.network.name, ""), end="")
    if settings.scaling == "sums" and not plan.network.normalized:
        print(
            "          the preset `paper` is meant for a network of mean activation 1;\n"
            "          `npstyle weights normalize` makes one"
        )
    if settings.scaling == "sums" and settings.content_layers and settings.style_layers:
        print(
            "          with the paper's sums, content far outweighs style; if the photo hardly\n"
            "          changes, raise --style-weight"
        )
    print(f"route     {_route(plan)}")
    print_device(plan.device, plan.threads)
    print(f"picture   {sizes} from {settings.init}, painting {paintings or 'none'}")
    if plan.start.note:
        print(f"          {plan.start.note}")
    print(f"preset    {settings.preset}")
    steps = " + ".join(map(str, settings.scale_steps()))
    print(f"search    {steps} iterations of {settings.optimizer}{_history(plan)}")
    _print_tiles(plan)
    print(f"memory    about {plan.peak_memory / 1e9:.2f} GB")
    print(f"output    {output}", flush=True)


def _history(plan: "Plan") -> str:
    """Describe the L-BFGS history at the largest scale if it differs from the default."""
    steps, scratch = plan.strategies[-1].history, plan.machine.scratch
    if steps is None:
        return ""
    place = f"files in {scratch}" if scratch is not None else "memory"
    return f", history of {steps} steps, kept in {place}"


def _print_tiles(plan: "Plan") -> None:
    """Print which scales are computed in tiles, and how much work the tiles add."""
    for (height, width), strategy in zip(plan.photo_sizes, plan.strategies, strict=True):
        if strategy.tile is not None and strategy.cost > 1:
            print(
                f"tiles     {width}x{height} in tiles of {strategy.tile} pixels: exact, "
                f"{strategy.cost:.2f} times the work of the whole picture"
            )
    if plan.machine.cluster is not None:
        print(f"cluster   {plan.machine.cluster}")
    disk = max(strategy.disk for strategy in plan.strategies)
    if disk:
        print(f"scratch   {disk / 1e9:.2f} GB in {plan.machine.scratch}")


def print_device(device: "Device", threads: int = 0) -> None:
    """Print the device of a run, and the reason if an automatic choice found no GPU."""
    if device.is_gpu:
        print(f"device    {device}, {device.name}")
        return
    print(f"device    CPU{f', {threads} thread' if threads else ''}{'s' if threads > 1 else ''}")
    if device.missing:
        print(f"          no GPU: {device.missing}", flush=True)


def _route(plan: "Plan") -> str:
    """Describe which convolutions take a fast route, or why none does."""
    from npstyle.engine.bind import count_convolutions
    from npstyle.engine.device import missing_loops

    every, fast, tensor = count_convolutions(plan.bound)
    if fast:
        route = f"Winograd in {fast} of {every} convolutions, plain sums in the others"
        if plan.is_compiled:
            return f"{route}; compiled loops"
        missing = "" if plan.device.is_gpu else missing_loops()
        return f"{route}\n          {missing}" if missing else route
    if tensor:
        cores = f"tensor cores in {plan.settings.precision}"
        return f"{cores} in {tensor} of {every} convolutions, plain sums in the others"
    if plan.settings.exact:
        return "plain sums, because of --exact"
    if plan.settings.dtype != "float32":
        return f"plain sums: the fast route is for float32, not {plan.settings.dtype}"
    return "plain sums: no convolution is wide enough for the fast route"


def ending(result: "Result") -> str:
    """Describe how a run ended."""
    from npstyle.run.progress import terms

    endings = {
        "iterations": f"{result.iterations} iterations",
        "converged": f"converged after {result.iterations} iterations",
        "interrupted": f"interrupted after {result.iterations} iterations, kept the best picture",
        "not finite": f"stopped after {result.iterations} iterations, kept the best picture",
    }
    return f"{endings[result.stopped]}, {terms(result.loss, result.parts)}"


def print_table(entries: Mapping[str, Any]) -> None:
    """Print names and values, one per line; nested mappings are indented."""
    width = max((len(name) for name in entries), default=0)
    for name, value in entries.items():
        if isinstance(value, Mapping):
            print(f"{name}:")
            for inner, number in value.items():
                print(f"  {inner}: {number}")
        else:
            print(f"{name:<{width}}  {value}")


def print_weights(weights: "Weights", path: Path, size: tuple[int, int]) -> None:
    """Print a network as a table, for a picture of this (height, width), and its origin."""
    from npstyle.maths.layers import Conv, Pool
    from npstyle.networks.network import network_from_weights, shapes

    network = network_from_weights(weights)
    table = Table("layer", "operation", "kernel (out, in, height, width)")
    for heading in ("parameters", "output (h, w, c)", "mult. (M)", "MB"):
        table.add_column(heading, justify="right")
    total = multiplications = 0
    names = list(network.activations().values())
    for layer, shape in shapes(network, names, *size):
        kernel, count, products = "", "", ""
        if isinstance(layer, Conv):
            height, width, inside, outside = layer.kernel.shape
            what = f"conv, stride {layer.stride}, padding {layer.padding}"
            kernel = str((outside, inside, height, width))
            parameters = layer.kernel.size + layer.bias.size
            count, total = f"{parameters:,}", total + parameters
            own = layer.kernel.size * shape[0] * shape[1]
            products, multiplications = f"{own / 1e6:,.0f}", multiplications + own
        elif isinstance(layer, Pool):
            what = f"pool {layer.size}x{layer.size}, stride {layer.stride}"
        else:
            what = "max(x, 0)"
        output = ", ".join(map(str, shape))
        megabytes = f"{4 * shape[0] * shape[1] * shape[2] / 1e6:.1f}"
        table.add_row(layer.name, what, kernel, count, output, products, megabytes)
    Console(width=None if sys.stdout.isatty() else 130).print(table)
    print_table(
        {
            "file": str(path),
            "network": weights.name,
            "parameters": f"{total:,}",
            "multiplications": f"{multiplications / 1e9:.3g} billion for {size[1]}x{size[0]} "
            "pixels, forward, by plain sums",
            "input": preparation(weights),
            "mean activation 1": "yes" if weights.normalized else "no",
            "source": weights.source,
            "licence": weights.license,
            "SHA-256 of the source": weights.source_sha256,
            "SHA-256 of this file": weights.sha256,
        }
    )


def preparation(weights: "Weights | StyleNetwork") -> str:
    """Return the formula of the network's input."""
    mean, scale = ([float(f"{value:.6g}") for value in v] for v in (weights.mean, weights.scale))
    return f"({weights.channel_order} pixel - {mean}) * {scale}"


def print_check(pairs: Mapping[str, tuple[float, float]]) -> None:
    """Print the stored mean activations next to the recomputed ones."""
    worst = max(abs(now - stored) / abs(stored) for stored, now in pairs.values() if stored)
    row = "{:<10} {:>14} {:>14}"
    print(row.format("layer", "stored", "recomputed"))
    for name, (stored, now) in pairs.items():
        print(row.format(name, f"{stored:.8g}", f"{now:.8g}"))
    print(f"all {len(pairs)} mean activations agree, to {worst:.0e}")


class ReportTable:
    """The laboratory's table; each line is printed as soon as a derivative has been checked."""

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.has_header = False  # printed with the first report: an error is a sentence alone
        self.console = Console(highlight=False, soft_wrap=True)

    def add(self, report: "Report") -> None:
        """Print one derivative: the worst result of each method over its inputs."""
        from npstyle.lab.summary import HEADER, ROW, rows_of

        if self.silent:
            return
        if not self.has_header:
            self.console.print(f"[bold]{ROW.format(*HEADER)}[/bold]")
            self.has_header = True
        for row in rows_of(report):
            line = escape(row.text)
            self.console.print(line if row.passed else f"[red]{line}[/red]")
            for note in row.notes:
                self.console.print(f"[red]    {escape(note)}[/red]")
        for note in report.notes:
            self.console.print(f"    {escape(note)}")

    def finish(self, reports: "Sequence[Report]") -> None:
        """Print the summary."""
        wrong = [report.name for report in reports if not report.passed]
        kinks = sum(report.kinks for report in reports)
        seconds = sum(outcome.seconds for report in reports for outcome in report.outcomes)
        verdict = f"{len(wrong)} WRONG: {', '.join(wrong)}" if wrong else "all agree"
        compared = sum(report.is_comparison for report in reports)
        counts = [_count(len(reports) - compared, "derivative")]
        if compared:
            counts.append(_count(compared, "comparison"))
        self.console.print(
            f"[bold]{' and '.join(counts)} checked, {kinks} at kinks, "
            f"{seconds:.1f} s: {escape(verdict)}[/bold]"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_source(source: str) -> None:
    """Print Python source, with colours on a terminal."""
    console = Console()
    if console.is_terminal:
        console.print(Syntax(source, "python", background_color="default"))
    else:
        print(source)
