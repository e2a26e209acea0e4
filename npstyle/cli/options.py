"""The options of a command, made from tables of settings.

A command's parameters are made when it is used for the first time: the tables need NumPy, and the
list of commands that `npstyle --help` prints does not.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape

from npstyle.errors import InputError

HELP = {
    "text_markup": "rich",
    "text_paragraph_linebreaks": "\n\n",
    "show_arguments": True,
    "options_table_column_types": ["opt_long", "opt_short", "metavar", "help"],
}
"""How help texts are laid out."""


FILE = click.Path(path_type=Path)
"""A parameter's type: the name of a file or folder."""


class Command(click.RichCommand):
    """A command whose parameters are made when it is used for the first time.

    Parameters
    ----------
    parameters : callable
        Returns the arguments and options.
    """

    def __init__(
        self, *args: Any, parameters: Callable[[], list[click.Parameter]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._parameters = parameters

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the arguments and options, in the order of the help text's panels."""
        from npstyle.run.table import PANELS

        def place(parameter: click.Parameter) -> int:
            panel = getattr(parameter, "panel", None)
            return PANELS.index(panel) if panel in PANELS else -1

        if not self.params:
            self.params = sorted(self._parameters(), key=place)
        return super().get_params(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; an option that takes several values takes all that follow."""
        several = {
            option
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and parameter.multiple
            for option in parameter.opts
        }
        return super().parse_args(ctx, spread_lists(args, several))


def spread_lists(arguments: list[str], several: set[str]) -> list[str]:
    """Write `--style a b` and `--style=a b` as `--style a --style b`, which Click understands.

    Parameters
    ----------
    arguments : list of str
    several : set of str
        The options that take all values up to the next option.
    """
    spread: list[str] = []
    current, takes_next = "", False
    for k, argument in enumerate(arguments):
        if argument == "--":
            return spread + arguments[k:]
        if argument.startswith("-") and len(argument) > 1:
            option, equals, _ = argument.partition("=")
            current = option if option in several else ""
            takes_next = not equals
        elif current and not takes_next:
            spread.append(current)
        else:
            takes_next = False
        spread.append(argument)
    return spread


def options(
    table: type, *names: str, defaults: Mapping[str, Any] | None = None
) -> list[click.Parameter]:
    """Return the options of a table's settings.

    Values arrive as text, or as None (or an empty tuple) if the option is not given, so that
    `npstyle.run.table.read_given` finds the given ones.

    Parameters
    ----------
    table : dataclass
        Its fields are declared with `npstyle.run.table.setting`.
    names : str
        Fields to use; all if none are named.
    defaults : mapping, optional
        The command's own defaults by field name, for the help text.
    """
    from npstyle.run.table import settings_of

    found: list[click.Parameter] = []
    for name, entry in settings_of(table).items():
        if names and name not in names:
            continue
        shown = str(defaults[name]) if defaults and name in defaults else entry.shown
        flag: dict[str, Any] = {"is_flag": True} if entry.flag else {"metavar": entry.metavar}
        found.append(
            click.RichOption(
                [entry.option, *([entry.short] if entry.short else []), name],
                default=None,
                multiple=entry.many,
                help=with_default(entry.help, shown),
                panel=entry.panel,
                **flag,
            )
        )
    return found


def option(
    name: str,
    help: str,
    *,
    default: Any = None,
    shown: str = "",
    panel: str | None = None,
    **keywords: Any,
) -> click.Parameter:
    """Return an option that belongs to one command.

    Parameters
    ----------
    name : str
        Such as "--layer"; a Python name may follow after a space.
    help : str
        Plain text.
    default : object
    shown : str
        The default as the help text shows it; derived from `default` if empty.
    panel : str, optional
    keywords
        Passed to `rich_click.RichOption`.
    """
    shown = shown or ("" if default is None or isinstance(default, bool) else str(default))
    if not keywords.get("required"):  # Click takes a default, also None, as a given value
        keywords["default"] = default
    return click.RichOption(
        name.split(),
        help=with_default(help, shown),
        **({"panel": panel} if panel else {}),
        **keywords,
    )


def argument(name: str, help: str, kind: Any = FILE, **keywords: Any) -> click.Parameter:
    """Return an argument, by default a file; `keywords` are passed to `RichArgument`."""
    return click.RichArgument(
        [name], type=kind, help=escape(help), panel="The arguments", **keywords
    )


def network(default: str | None = None) -> click.Parameter:
    """Return the option that names the network."""
    from npstyle.run.table import PICTURE

    return option(
        "--network",
        "builtin, vgg19, or another weights file: a path, or a name in weights/ or in the "
        "user's data directory. `npstyle weights fetch vgg19` downloads VGG-19.",
        default=default,
        shown=default or "vgg19 where installed, else builtin",
        panel=PICTURE,
        metavar="builtin|vgg19|FILE",
    )


def count(ctx: click.Context, parameter: click.Parameter, value: int | None) -> int | None:
    """Accept None and numbers of 1 or more: a Click callback."""
    if value is not None and value < 1:
        raise InputError(f"{parameter.opts[0]} {value}: give a number of 1 or more")
    return value


def with_default(help: str, shown: str) -> str:
    """Return a help text as Rich markup, with the default value at its end."""
    if not shown:
        return escape(help)
    return f"{escape(help)} [dim]Default: {escape(shown)}.[/dim]"
