"""Paint photos in one pass: pictures in, pictures out.

A `Stylizer` is made once, for a style, and paints any number of photos. `npstyle.onepass.stylize`
has the same for arrays and a bound network.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from npstyle import __version__
from npstyle.engine import cpu
from npstyle.engine.device import CPU, engine_of
from npstyle.engine.feedforward.memory import paint_bytes
from npstyle.engine.machine import thread_count
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.color import put_back_chroma
from npstyle.images.resize import fit_size
from npstyle.maths.array import Array
from npstyle.onepass.styles import ANY_STYLE, load_named, parse_style
from npstyle.onepass.stylize import (
    BoundStyleNetwork,
    bind_style_network,
    blended_code,
    check_photo,
    paint,
    read_code,
    read_size,
)
from npstyle.run.machine import SHARE, allowed_memory, largest_side, memory_setting
from npstyle.run.pictures import (
    Picture,
    check_one_each,
    check_readable,
    picture_bytes,
    picture_name,
    picture_pixels,
    picture_size,
    pictures_record,
)
from npstyle.run.settings import MOST_PIXELS, PresetName
from npstyle.run.table import (
    PAINTINGS,
    PICTURE,
    SEARCH,
    blend_setting,
    check_blend,
    check_count,
    read_own,
    setting,
    threads_setting,
)

if TYPE_CHECKING:
    from npstyle.run.refine import Refiner
    from npstyle.search.optimize import Progress

PAINT_BYTES = 36
"""Bytes for each pixel besides the network's arrays: the photo in float64, and the network's input
in float32."""

WRITE_BYTES = 110
"""Bytes for each pixel while the picture is written: the photo, the picture, and its copies that
are clipped, in float64, rounded, and compressed."""

THREAD_BYTES = 16 << 20
"""Bytes of a thread's workspace: a strip of the widest layer."""


@dataclass(frozen=True, kw_only=True)
class StyleSettings:
    """How photos are painted in one pass.

    The fields are documented where they are declared; `npstyle stylize --help` prints the same
    texts.

    Raises
    ------
    InputError
        If a value cannot be used; names the option.
    """

    style: str | None = setting(
        None,
        "A learned style in place of a painting: starry_night or great_wave; 0 to 25, or a mixture "
        "such as 3:0.5,12:0.5; or another network FILE.npz, such as `npstyle train` writes, with "
        ":NUMBER if it has several styles.",
        PICTURE,
        metavar="NAME|N|N:SHARE,...|FILE.npz",
    )
    blend: tuple[float, ...] = blend_setting()
    strength: float = setting(
        1.0, "From 0, the photo's own style, to 1, the painting's.", PAINTINGS
    )
    color: Literal["painting", "luminance"] = setting(
        "painting",
        "Colours of the result. luminance: the photo's, because only the brightness is painted.",
        PAINTINGS,
    )
    size: int | None = setting(
        None, "Longest side of the result, in pixels.", PICTURE, shown="that of the photo"
    )
    refine: int = setting(
        0,
        "Improve the picture by N steps of L-BFGS: they change the style code, 100 numbers, so "
        "that the loss of `npstyle transfer` falls. A transfer of as many steps comes closer to "
        "the painting.",
        SEARCH,
        shown="0, no search",
    )
    refine_all: bool = setting(
        False,
        "With --refine: change all scales and shifts of the network instead of the style code. "
        "This comes closer to the painting.",
        SEARCH,
    )
    network: str | None = setting(
        None,
        "With --refine: the network that computes the loss: builtin, vgg19, or another weights "
        "file, as for `npstyle transfer`.",
        SEARCH,
        metavar="builtin|vgg19|FILE",
        shown="vgg19 where installed, else builtin",
    )
    preset: PresetName = setting(
        "gatys", "With --refine: the loss, as for `npstyle transfer`.", SEARCH
    )
    threads: int | None = threads_setting()
    memory: int | None = memory_setting()

    def __post_init__(self) -> None:
        """Raise InputError for values that no photo could be painted with."""
        read_own(self)
        if not 0 <= self.strength <= 1:
            raise InputError(f"--strength {self.strength:g}: give a number from 0 to 1")
        if self.size is not None:
            check_count("--size", self.size, MOST_PIXELS)
        check_blend(self.blend)
        self._check_refinement()

    def _check_refinement(self) -> None:
        if self.refine < 0:
            raise InputError(f"--refine {self.refine}: give a number of steps, such as 20")
        if self.refine and self.strength != 1:
            raise InputError(
                f"--strength {self.strength:g}: --refine decides how strong the style becomes; "
                "leave one of them out"
            )
        for option, given in (
            ("--refine-all", self.refine_all),
            ("--network", self.network is not None),
            ("--preset", self.preset != "gatys"),
        ):
            if given and not self.refine:
                raise InputError(f"{option}: has an effect only with --refine; add --refine 20")


@dataclass(frozen=True)
class Stylized:
    """A painted photo.

    Attributes
    ----------
    image : array (height, width, 3), RGB, 0..255
    record : dict
        The pictures, the settings, and the network's name and hash, in the form that
        `npstyle.images.write.save_image` takes. After `refine` also the network that computed the
        loss, `loss_before` and `loss`, and how the search ended, as in the record of a transfer.
    """

    image: Array
    record: dict[str, Any]


def stylize(
    photo: Picture,
    painting: Picture | Sequence[Picture] | None = None,
    settings: StyleSettings | None = None,
    *,
    callback: "Callable[[Progress], None] | None" = None,
) -> Stylized:
    """Paint a photo in one pass, in the style of one or more paintings or in a learned style.

    Parameters
    ----------
    photo : path, or array (height, width, 3), RGB, 0..255
    painting : the same, or a sequence of them, optional
        Needed unless the settings name a learned style.
    settings : StyleSettings, optional
    callback : callable, optional
        Called with a `Progress` after each step of `settings.refine`.

    Returns
    -------
    Stylized
        Also after Ctrl-C during `settings.refine`: the best picture so far.

    Raises
    ------
    InputError
        If a picture or the style cannot be used, or memory does not suffice.
    """
    if painting is None:
        paintings: tuple[Picture, ...] = ()
    elif isinstance(painting, str | Path | np.ndarray):
        paintings = (painting,)
    else:
        paintings = tuple(painting)
    return Stylizer(paintings, settings or StyleSettings())(photo, callback)


class Stylizer:
    """Paints photos in a style that has been prepared once.

    Parameters
    ----------
    paintings : sequence of pictures
        Empty if the settings name a learned style.
    settings : StyleSettings

    Raises
    ------
    InputError
        If neither or both are given, or one of them cannot be used.
    """

    def __init__(self, paintings: Sequence[Picture], settings: StyleSettings) -> None:
        self.settings, self._paintings = settings, tuple(paintings)
        self._threads = thread_count(settings.threads)
        _check_choice(self._paintings, settings)
        self.refiner = _refiner(self._paintings, settings)
        if settings.style is not None:
            network, self.code = parse_style(settings.style)
            self.bound = bind_style_network(network)
        else:
            # Many evaluations pay for loading the compiled loops, one does not.
            engine = cpu if self.refiner is None else engine_of(CPU, fast=True)
            self.bound = bind_style_network(load_named(ANY_STYLE), engine=engine)
            with use_threads(self._threads):
                codes = [read_code(self.bound, pixels) for pixels in self._read_paintings()]
            self.code = blended_code(codes, settings.blend)

    def __call__(
        self, photo: Picture, callback: "Callable[[Progress], None] | None" = None
    ) -> Stylized:
        """Paint one photo, as `stylize`.

        Raises
        ------
        InputError
            If the photo cannot be used, or memory does not suffice.
        """
        size = self.check(photo)
        pixels = picture_pixels(photo, size)
        record = self._record(photo, size)
        with use_threads(self._threads):
            code, strength = self.code, self.settings.strength
            if strength != 1:
                code = blended_code([read_code(self.bound, pixels), code], (1 - strength, strength))
            if self.refiner is None:
                image = paint(self.bound, pixels, code)
            else:
                image, found = self.refiner(self.bound, photo, pixels, code, callback)
                record |= found
        if self.settings.color == "luminance":
            image = put_back_chroma(image, pixels)
        return Stylized(np.clip(image, 0, 255), record)

    def check(self, photo: Picture) -> tuple[int, int]:
        """Return the (height, width) of the result; raises the same errors as painting would."""
        try:
            return self._checked(photo)
        except InputError as error:
            if isinstance(photo, np.ndarray) or str(photo) in str(error):
                raise
            raise InputError(f"{photo}: {error}") from error

    def _checked(self, photo: Picture) -> tuple[int, int]:
        """`check`, without the name of the photo in the errors about its size."""
        size = own = picture_size(photo)
        if self.settings.size is not None:
            size = fit_size(*own, self.settings.size)
        check_photo(size)
        free = allowed_memory(self.settings.memory, share=SHARE)
        check_readable([photo], free)
        needed = self._needed(photo, size)
        if needed > free:
            raise InputError(
                f"a photo of {size[1]}x{size[0]} pixels needs {needed / 1e9:.2f} GB and "
                f"{max(0, free) / 1e9:.2f} GB are free; {self._mend(photo, own, size, free)}"
            )
        return size

    def memory(self, photo: Picture) -> int:
        """Return the memory that painting this photo takes beyond what is held, in bytes."""
        return self._needed(photo, self.check(photo))

    def _read_paintings(self) -> Iterator[Array]:
        """The pixels of each painting, at the size at which its style is read."""
        check_readable(self._paintings, allowed_memory(self.settings.memory, share=SHARE))
        for picture in self._paintings:
            yield picture_pixels(picture, read_size(*picture_size(picture)))

    def _needed(self, photo: Picture, size: tuple[int, int]) -> int:
        """The bytes for a photo that is painted at this size, and refined."""
        reading = picture_bytes(photo, size)
        painted = photo_bytes(self.bound, reading, size, self._threads)
        if self.refiner is None:
            return painted
        return max(painted, self.refiner.memory(self.bound, size, self._threads))

    def _mend(self, photo: Picture, own: tuple[int, int], given: tuple[int, int], free: int) -> str:
        """Advice for a photo that needs more memory at the given size, scaled from its own."""

        def needed(side: int) -> int:
            size = fit_size(*own, side)
            check_photo(size)
            return self._needed(photo, size)

        size = largest_side(1, max(own), needed, free)
        if size is not None and size >= max(given):  # reading takes more for a very small result
            return f"use --size {size}, or scale the photo down first"
        return "free some memory first" if size is None else f"use --size {size} or less"

    def _record(self, photo: Picture, size: tuple[int, int]) -> dict[str, Any]:
        network = self.bound.network
        return {
            "npstyle": __version__,
            **pictures_record("photo", (photo,)),
            **(pictures_record("painting", self._paintings) if self._paintings else {}),
            "network": network.name,
            "network_sha256": network.sha256,
            **_named_settings(self.settings),
            "threads": self._threads,
            "height": size[0],
            "width": size[1],
        }


def photo_bytes(bound: BoundStyleNetwork, reading: int, size: tuple[int, int], threads: int) -> int:
    """Count the bytes for reading a photo, painting it at this size, and writing it."""
    pixels = size[0] * size[1]
    return max(
        reading,
        pixels * PAINT_BYTES + paint_bytes(bound.transformer, *size) + threads * THREAD_BYTES,
        pixels * WRITE_BYTES,
    )


def _refiner(paintings: Sequence[Picture], settings: StyleSettings) -> "Refiner | None":
    """Load what a refinement needs, SciPy among it, if there is to be one."""
    if not settings.refine:
        return None
    from npstyle.run.refine import Refiner

    return Refiner(paintings, settings)


def _named_settings(settings: StyleSettings) -> dict[str, Any]:
    """The settings for the record: those of the refinement only if there is one.

    The network of the loss is not among them: `network` in a record is the one that paints.
    """
    left_out = {"network"} if settings.refine else {"network", "refine", "refine_all", "preset"}
    found = {name: value for name, value in asdict(settings).items() if name not in left_out}
    # Of a file its name alone, as for pictures; its SHA-256 is the network's.
    return found | {"style": settings.style and picture_name(settings.style)}


def _check_choice(paintings: Sequence[Picture], settings: StyleSettings) -> None:
    """Raise InputError unless there is one kind of style, and its options."""
    if settings.style is None and not paintings:
        raise InputError(
            "no style: give a painting by --painting, or a learned style by --style 0 to 25; "
            "--sheet shows them"
        )
    if settings.style is None:
        check_one_each("--blend", len(settings.blend), len(paintings))
        return
    for option, given in (
        ("--painting", bool(paintings)),
        ("--blend", bool(settings.blend)),
        ("--strength", settings.strength != 1),
        ("--refine", settings.refine > 0),
    ):
        if given:
            raise InputError(
                f"{option}: a learned style has no painting; leave out --style or {option}"
            )
