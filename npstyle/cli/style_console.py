"""Output of the commands that paint in one pass."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npstyle.cli.console import preparation, print_table

if TYPE_CHECKING:
    from npstyle.networks.style_network import StyleNetwork
    from npstyle.run.stylize import Stylizer


ENDINGS = {
    "iterations": "",
    "converged": "; no further step lowers it",
    "interrupted": "; interrupted, kept the best picture",
    "not finite": "; stopped because it became infinite or NaN, kept the best picture",
}
"""How a refinement ended, by the record's `stopped`."""


def print_plan(stylizer: "Stylizer", photo: Path) -> None:
    """Print what painting a photo will do: networks, size, search, memory."""
    from npstyle.engine.machine import held_memory

    (height, width), settings = stylizer.check(photo), stylizer.settings
    print(f"network   {stylizer.bound.network.name}")
    print(f"picture   {width}x{height}")
    if stylizer.refiner is not None:
        moved = "all scales and shifts" if settings.refine_all else "the style code"
        print(f"loss      preset {settings.preset}, network {stylizer.refiner.judge.network.name}")
        print(f"refine    {settings.refine} steps of L-BFGS on {moved}")
    needed = held_memory() + stylizer.memory(photo)
    print(f"memory    about {needed / 1e9:.2f} GB", flush=True)


def refinement_texts(record: Mapping[str, Any]) -> list[str]:
    """Return the loss before and after a refinement as a line; none if there was none."""
    if "loss_before" not in record:
        return []
    steps = record["iterations_done"]
    losses = f"loss {record['loss_before']:.2e} -> {record['loss']:.2e}"
    ending = ENDINGS[record["stopped"]]
    return [f"{losses} in {steps} step{'s' * (steps != 1)}{ending}"]


def print_style_network(network: "StyleNetwork", path: Path) -> None:
    """Print what a style network paints, its size, and its origin."""
    styles = f"{network.styles} learned style{'s' * (network.styles > 1)}"
    numbers = {
        name: sum(
            array.size
            for layer in layers
            for array in vars(layer).values()
            if hasattr(array, "size")
        )
        for name, layers in (("transformer", network.transformer), ("predictor", network.predictor))
    }
    print_table(
        {
            "file": str(path),
            "network": network.name,
            "styles": f"any painting, as {network.code} numbers" if network.predictor else styles,
            "parameters": ", ".join(f"{n:,} of the {name}" for name, n in numbers.items() if n),
            "input": preparation(network),
            "source": network.source,
            "licence": network.license,
            "SHA-256 of the source": network.source_sha256,
            "SHA-256 of this file": network.sha256,
        }
    )
