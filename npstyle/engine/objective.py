"""The objective on a bound network: pixels in, one number and its gradient at the pixels out.

The formula is that of `npstyle.maths.objective`,

    f(x) = sum_c alpha_c L_c + sum_l beta_l E_l + gamma T(x)

The picture x and the gradient df/dx are float64 arrays (height, width, 3), RGB, 0..255. The network
computes in its own precision.
"""

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from npstyle.engine.arena import Arena
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.engine.losses import (
    Evaluation,
    Losses,
    blended,
    factors,
    regions_of,
    weighted_parts,
)
from npstyle.engine.memory import evaluation_bytes, with_gaps
from npstyle.engine.passes import Cache, activations, backward, forward, prepare
from npstyle.maths.array import Array


class StyleObjective:
    """The objective for one photo and one painting, or several.

    Parameters
    ----------
    bound : BoundNetwork
    photo : array (height, width, 3), pixels 0..255
        Its activations at the content layers are P.
    painting : array (any height, any width, 3), pixels 0..255; or a sequence of Region
        Its Gram matrices at the style layers are A. Each region has its own E_l; they are added.
    losses : Losses
        The layers with a loss, and the weights of the losses.

    Attributes
    ----------
    content_targets : dict of arrays
        P by layer.
    style_targets, guides : lists of dicts of arrays
        For each region, A and w by layer; a region without a mask has no guides.
    alpha, beta : dicts of float
        By layer.
    replays : bool
        Whether the first evaluation is recorded as CUDA graphs, which the others replay: True on a
        GPU. It may be set to False. If CuPy cannot record, a warning says so.

    Raises
    ------
    InputError
        If a layer is unknown, a picture is too small for it, or a mask is 0 everywhere there.
    """

    def __init__(
        self,
        bound: BoundNetwork,
        photo: Array,
        painting: Array | Sequence[Region],
        losses: Losses,
    ) -> None:
        self.bound = bound
        self.shape = photo.shape
        self.losses = losses.canonical(bound.network)
        style = self.losses.style_layers
        self.content_targets: dict[str, Array] = {}
        self._replay: Any = None
        self.compare_with(photo)
        regions = regions_of(painting)
        self.style_targets = [blended(region, self._grams) for region in regions]
        self.guides = [self._guides(region.mask, style) for region in regions]
        sizes = {name: target.size for name, target in self.content_targets.items()}
        self.alpha, self.beta = factors(self.losses, sizes, self.style_targets)

        need = evaluation_bytes(bound, self.losses.layers, photo.shape[:2])
        self.arena = Arena(0 if bound.engine.ON_GPU else with_gaps(need))
        self.replays = bound.engine.ON_GPU

    def compare_with(self, photo: Array) -> None:
        """Take the content from another photo, of the same size.

        Raises
        ------
        ValueError
            If it has another size.
        """
        self._check(photo)
        content = self.losses.content_layers
        if not content:
            return
        targets = activations(self.bound, self._network_input(photo), content)
        if self._replay is None:
            self.content_targets = targets
            return
        for name, target in targets.items():  # a record keeps the addresses of the old arrays
            self.content_targets[name][...] = target

    def _guides(self, mask: Array | None, style: Collection[str]) -> dict[str, Array]:
        """The guide at each layer; none without a mask."""
        if mask is None:
            return {}
        guides = carry_down(self.bound.network, style, mask)
        return {name: self.bound.engine.place(w, self.bound.dtype) for name, w in guides.items()}

    def _grams(self, source: Source) -> dict[str, Array]:
        """The Gram matrices of a painting, or of a part of it."""
        style = self.losses.style_layers
        guides = self._guides(source.mask, style)
        cache = prepare(self.bound, self._network_input(source.pixels), style)
        grams = {}
        for name, F in forward(self.bound, cache):
            grams[name] = self.bound.engine.mean_gram(F, guides.get(name))
            del F
        return grams

    def _network_input(self, pixels: Array) -> Array:
        return self.bound.preprocess(self.bound.engine.place(pixels, np.float64))

    def __call__(self, pixels: Array) -> Evaluation:
        """Evaluate f and df/dx.

        Parameters
        ----------
        pixels : array (height, width, 3), RGB, 0..255
            x, of the photo's size, on the host or on the engine's device.

        Returns
        -------
        Evaluation
            (loss, gradient, parts). The gradient is on the host if the pixels were.

        Raises
        ------
        ValueError
            If the picture has another size than the photo.
        """
        self._check(pixels)
        engine = self.bound.engine
        run = self._replayed if self.replays else self._evaluate
        placed = engine.place(pixels, np.float64)
        terms, gradient = run(placed)
        if placed is not pixels:
            gradient = engine.to_host(gradient)
        parts = self._weighted(terms)
        return Evaluation(sum(parts.values()), gradient, parts)

    def value(self, pixels: Array) -> tuple[float, Cache]:
        """Evaluate f alone, and return it with the cache of the forward pass.

        Parameters and errors are those of a full evaluation.
        """
        self._check(pixels)
        placed = self.bound.engine.place(pixels, np.float64)
        terms, _, cache = self._losses(placed)
        return sum(self._weighted(terms).values()), cache

    def _check(self, pixels: Array) -> None:
        if pixels.shape != self.shape:
            raise ValueError(f"the picture is {pixels.shape}, the photo is {self.shape}")

    def _weighted(self, terms: dict[str, Any]) -> dict[str, float]:
        values = self.bound.engine.numbers(list(terms.values()))
        found = dict(zip(terms, values, strict=True))
        return weighted_parts(found, self.alpha, self.beta, self.losses.tv_weight)

    def _evaluate(self, pixels: Array) -> tuple[dict[str, Any], Array]:
        """The terms of f without their weights, and df/dx."""
        with self.arena.lent():
            terms, grams, cache = self._losses(pixels)
            for name, F, out in backward(self.bound, cache):
                self._add_gradients(name, F, grams.get(name, []), out)
                del F, out
            gradient = self.bound.preprocess_backward(cache.take_gradient())
        gradient = gradient.astype(np.float64, copy=False)
        if self.losses.tv_weight:
            self.bound.engine.total_variation_backward(pixels, self.losses.tv_weight, gradient)
        return terms, gradient

    def _losses(self, pixels: Array) -> tuple[dict[str, Any], dict[str, list[Array]], Cache]:
        """Run forward: the terms of f without their weights, and each region's Gram matrices."""
        engine = self.bound.engine
        cache = prepare(self.bound, self.bound.preprocess(pixels), self.losses.layers)
        terms: dict[str, Any] = {}
        grams: dict[str, list[Array]] = {}
        for name, F in forward(self.bound, cache):
            if name in self.alpha:
                terms[f"content {name}"] = engine.content_loss(F, self.content_targets[name])
            if name in self.beta:
                grams[name] = [engine.mean_gram(F, guides.get(name)) for guides in self.guides]
                pairs = zip(grams[name], self.style_targets, strict=True)
                terms[f"style {name}"] = sum(engine.gram_loss(G, A[name]) for G, A in pairs)
            del F
        if self.losses.tv_weight:
            terms["tv"] = engine.total_variation(pixels)
        return self._in_order(terms), grams, cache

    def _in_order(self, terms: dict[str, Any]) -> dict[str, Any]:
        """Sort the terms by the order in which the layers were named, which fixes the rounding."""
        names = [f"{kind} {n}" for n in self.losses.layers for kind in ("content", "style")]
        return {name: terms[name] for name in [*names, "tv"] if name in terms}

    def _add_gradients(self, name: str, F: Array, grams: list[Array], out: Array) -> None:
        """Add the derivatives of the terms at one activation to the gradient that arrives there."""
        engine = self.bound.engine
        if name in self.alpha:
            engine.content_loss_backward(F, self.content_targets[name], self.alpha[name], out)
        for G, A, guides in zip(grams, self.style_targets, self.guides, strict=False):
            guide = guides.get(name)
            engine.style_loss_backward(F, A[name], self.beta[name], guide, G, out)

    def _replayed(self, pixels: Array) -> tuple[dict[str, Any], Array]:
        """Evaluate by CUDA graphs, which are recorded the first time."""
        from npstyle.engine.cuda.replay import NotRecordedError, Replay

        if self._replay is None:
            try:
                self._replay = Replay(self._evaluate, pixels)
            except NotRecordedError as error:
                self.replays = False
                reason = f"the GPU's kernels are launched one by one, without a CUDA graph: {error}"
                warnings.warn(reason, RuntimeWarning, stacklevel=3)
                return self._evaluate(pixels)
        terms, gradient = self._replay(pixels)
        return terms, gradient.copy()
