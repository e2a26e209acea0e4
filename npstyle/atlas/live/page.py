"""Follow a run of the command line on a page."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npstyle.errors import InputError
from npstyle.run.plan import Plan

if TYPE_CHECKING:
    from npstyle.atlas.live.server import Server


def live_page(
    photo: Path, port: int | None, opens: bool, say: Callable[[str], None]
) -> "AbstractContextManager[Server]":
    """Return the server of a run's page, to be used in a `with` statement.

    Parameters
    ----------
    photo : Path
        Shown as the picture before the run.
    port : int or None
        None: a free port.
    opens : bool
        Whether to open the page in a browser.
    say : callable
        Prints a sentence if the run ends before a page is opened.

    Raises
    ------
    InputError
        If the extra `live` is not installed. In the `with` statement: if the port cannot be used.
    """
    try:
        from npstyle.atlas.live.server import serving
    except ImportError as error:
        raise InputError(
            f"--live: the page needs Starlette and Uvicorn, and {error.name} is not installed; "
            "install them with pip install 'npstyle[live]'"
        ) from error
    return serving(photo, port, opens, say)


def facts(plan: Plan, named: Mapping[str, str]) -> dict[str, str]:
    """Return what the page says about a run, as text.

    Parameters
    ----------
    plan : Plan
    named : mapping
        What the plan does not have: the names of the pictures and of the file to write.
    """
    height, width = plan.photo_sizes[-1]
    on_cpu = f"CPU, {plan.threads} thread{'s' if plan.threads > 1 else ''}"
    settings = {k: v for k, v in vars(plan.settings).items() if k != "size" and v not in (None, ())}
    return {
        **named,
        "network": plan.network.name,
        "size": f"{width}x{height}",
        "device": f"{plan.device}, {plan.device.name}" if plan.device.is_gpu else on_cpu,
        **{name: _text(value) for name, value in settings.items()},
    }


def _text(value: Any) -> str:
    """Format a setting as the command line takes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}:{weight:g}" for name, weight in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
