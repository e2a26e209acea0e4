"""Improve the pictures of one pass down the objective of a transfer.

`npstyle.onepass.refine` has the search for arrays and a bound network. This module makes its
objective from the settings: that of `npstyle.run.transfer`, for a picture of the size that one pass
paints.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from npstyle.engine.device import CPU
from npstyle.engine.feedforward.memory import gradient_bytes
from npstyle.engine.losses import Evaluation
from npstyle.engine.objective import StyleObjective
from npstyle.errors import InputError
from npstyle.images.color import LUMINANCE, grey, luminance
from npstyle.maths.array import Array
from npstyle.onepass.refine import Refinement, code_numbers, norm_numbers, refine
from npstyle.onepass.stylize import BoundStyleNetwork
from npstyle.run.pictures import Picture, Pictures, Size, load_scale, painting_size, picture_size
from npstyle.run.plan import prepared
from npstyle.run.settings import Settings, with_preset
from npstyle.run.strategy import whole_bytes
from npstyle.run.transfer import losses_for
from npstyle.search.optimize import Objective, Progress

if TYPE_CHECKING:
    from npstyle.run.stylize import StyleSettings

VECTORS = 7
"""float64 pictures besides the arrays of the two networks: the photos, the painted picture, the
best one, and gradients on the way back."""


class Refiner:
    """Improves the pictures of one pass in the style of some paintings.

    Parameters
    ----------
    paintings : sequence of pictures
    settings : StyleSettings
        `refine`, `refine_all`, `network`, `preset`, `blend` and `color` are used.

    Attributes
    ----------
    judge : BoundNetwork
        The network of the objective.

    Raises
    ------
    InputError
        If the network cannot be loaded.
    """

    def __init__(self, paintings: Sequence[Picture], settings: "StyleSettings") -> None:
        self._paintings, self._style = tuple(paintings), settings
        self.judge = prepared(settings.network, self._settings(1), CPU)

    def _settings(self, size: int) -> Settings:
        """The settings of a transfer for a picture with this longest side."""
        style = self._style
        chosen = {"preset": style.preset, "blend": style.blend, "color": style.color}
        return with_preset({**chosen, "size": size, "scales": (size,)})

    def memory(self, bound: BoundStyleNetwork, size: Size, threads: int) -> int:
        """Return the bytes that it takes to refine a picture of this (height, width).

        Raises
        ------
        InputError
            If the picture or a painting is too small for a layer of the objective.
        """
        settings = self._settings(max(size))
        own = [picture_size(painting) for painting in self._paintings]
        sizes = [painting_size(painting, max(size), settings) for painting in own]
        judged = whole_bytes(self.judge, settings, size, sizes, threads, VECTORS)
        return judged + gradient_bytes(bound.transformer, *size)

    def __call__(
        self,
        bound: BoundStyleNetwork,
        photo: Picture,
        pixels: Array,
        code: Array,
        callback: Callable[[Progress], None] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Refine a painted photo, on the threads of `npstyle.engine.threads.use_threads`.

        Parameters
        ----------
        bound : BoundStyleNetwork
            The network that paints.
        photo : picture
        pixels : array (height, width, 3)
            The photo at the size that is painted.
        code : array (code,)
            Of the style before.
        callback : callable, optional

        Returns
        -------
        picture : array (height, width, 3), RGB, 0..255
            The one with the lowest loss, also after Ctrl-C.
        record : dict
            The network of the loss, the loss before and after, and how the search ended.

        Raises
        ------
        InputError
            If the loss of the painted picture is NaN or infinite.
        KeyboardInterrupt
            After Ctrl-C before there was a loss.
        """
        style = self._style
        found = refine(
            bound,
            pixels,
            (norm_numbers if style.refine_all else code_numbers)(bound, code),
            self._objective(photo, max(pixels.shape)),
            iterations=style.refine,
            callback=callback,
        )
        if not found.result.parts and found.result.stopped == "interrupted":
            raise KeyboardInterrupt
        if not found.result.parts:
            raise InputError(
                f"--network {self.judge.network.name}: the loss of the painted picture is "
                "infinite or NaN; use another network"
            )
        return found.result.image, self._record(found)

    def _record(self, found: Refinement) -> dict[str, Any]:
        network, result = self.judge.network, found.result
        return {
            "judge": network.name,
            "judge_sha256": network.sha256,
            "loss_before": found.loss_before,
            "loss": result.loss,
            "parts": result.parts,
            "iterations_done": result.iterations,
            "evaluations": result.evaluations,
            "stopped": result.stopped,
        }

    def _objective(self, photo: Picture, size: int) -> Objective:
        """The objective of a transfer to a picture with this longest side."""
        settings = self._settings(size)
        content, _, regions = load_scale(Pictures(photo, self._paintings), settings, 0)
        losses = losses_for(self.judge.network, settings)
        objective = StyleObjective(self.judge, content, regions, losses)
        return of_luminance(objective) if settings.color == "luminance" else objective


def of_luminance(objective: Objective) -> Objective:
    """Return f(grey(Y(x))), the objective of a picture whose luminance alone is kept.

    Every channel of the grey picture is Y = sum_c w_c x_c, so df/dx_c = w_c sum_k df/dgrey_k.
    """

    def judged(pixels: Array) -> Evaluation:
        found = objective(grey(luminance(pixels)))
        return found._replace(gradient=grey(found.gradient.sum(axis=2)) * LUMINANCE)

    return judged
