"""Output of the commands that paint in one pass."""

from pathlib import Path
from typing import TYPE_CHECKING

from npstyle.cli.console import preparation, print_table

if TYPE_CHECKING:
    from npstyle.networks.style_network import StyleNetwork


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
