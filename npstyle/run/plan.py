"""The plan of a run: its device, its sizes and the memory that it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from npstyle.engine.bind import BoundNetwork, Route, bind
from npstyle.engine.cuda.tensor_cores import TENSOR_CORES
from npstyle.engine.device import CPU, Device, engine_of, held_memory
from npstyle.engine.machine import thread_count
from npstyle.errors import InputError
from npstyle.images.resize import fit_size
from npstyle.networks.network import Network, configure, load_network, shapes
from npstyle.run.machine import SHARE, Machine, allowed_memory, largest_side
from npstyle.run.pictures import Size, painting_size
from npstyle.run.settings import Settings
from npstyle.run.start import Start, choose_start
from npstyle.run.strategy import Strategy, choose_strategy, whole_bytes
from npstyle.search.memory import vectors_held


@dataclass(frozen=True)
class Plan:
    """How a run will be computed.

    Attributes
    ----------
    bound : BoundNetwork
    settings : Settings
        `init` is that of `start`.
    photo_sizes : tuple of (height, width)
        At each scale; the last is the result's.
    painting_sizes : tuple of (height, width)
        Size of each painting at the last scale.
    threads : int
    strategies : tuple of Strategy
        How each scale is computed.
    start : Start
        What the search at the first scale starts from.
    device : Device
    machine : Machine
        As given by the user.
    reading : int
        Bytes that reading the pictures takes before the search, in the memory of the CPU.
    """

    bound: BoundNetwork
    settings: Settings
    photo_sizes: tuple[Size, ...]
    painting_sizes: tuple[Size, ...]
    threads: int
    strategies: tuple[Strategy, ...]
    start: Start
    device: Device = CPU
    machine: Machine = field(default_factory=Machine)
    reading: int = 0

    @property
    def network(self) -> Network:
        """The bound network, whose kernels hold no values."""
        return self.bound.network

    @property
    def is_compiled(self) -> bool:
        """Whether the CPU runs compiled loops."""
        return self.bound.engine_name == "cpu.compiled"

    @property
    def memory(self) -> int:
        """Memory of the device that the run takes beyond what the process holds now, in bytes."""
        needed = max(strategy.memory for strategy in self.strategies)
        # One pass paints on the CPU, and pictures are read there.
        return needed if self.device.is_gpu else max(needed, self.start.memory, self.reading)

    @property
    def peak_memory(self) -> int:
        """Expected peak memory of the whole process on the device, in bytes."""
        return self.memory + held_memory(self.device)


def fast_route(settings: Settings) -> bool:
    """Whether convolutions may take the fast route of Winograd's algorithm."""
    on_tensor_cores = settings.precision != "float32"
    return settings.dtype == "float32" and not settings.exact and not on_tensor_cores


def prepared(
    network: Network | str | Path | None, settings: Settings, device: Device
) -> BoundNetwork:
    """Load a network if it is not loaded yet, and bind it as the settings require.

    Raises
    ------
    InputError
        If the network cannot be loaded, or the device does not support the requested precision.
    """
    if not isinstance(network, Network):
        network = load_network(network)
    network = configure(network, settings.pooling, settings.dtype, settings.padding)
    wanted = [*settings.content_layers, *settings.style_layers]
    route: Route = "plain"
    if settings.precision != "float32":
        _check_tensor_cores(settings.precision, device)
        route = settings.precision
    elif fast_route(settings):
        route = "fast"
    depth = wanted if route != "plain" else None
    return bind(network, depth, engine=engine_of(device, route == "fast"), route=route)


def _check_tensor_cores(precision: str, device: Device) -> None:
    """Raise InputError if the device has no tensor cores that the kernels can use."""
    if not device.is_gpu:
        reason = f", and there is none: {device.missing}" if device.missing else ""
        raise InputError(
            f"--precision {precision}: is for a GPU's tensor cores{reason}; on the CPU leave it out"
        )
    if device.capability < TENSOR_CORES:
        raise InputError(
            f"--precision {precision}: needs compute capability {TENSOR_CORES / 10} or more, and "
            f"{device.name} has {device.capability / 10}; leave it out"
        )


def make_plan(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    machine: Machine | None = None,
    device: Device = CPU,
    reading: int = 0,
) -> Plan:
    """Predict the sizes and the memory of a run; check that the pictures reach every layer.

    Parameters
    ----------
    bound : BoundNetwork
    settings : Settings
    photo : (height, width)
        Before scaling.
    paintings : sequence of (height, width)
    machine : Machine, optional
        Its memory limits, tiles and threads.
    device : Device
        The network's.
    reading : int
        Bytes that reading the pictures takes, from `npstyle.run.pictures.loading_bytes`.

    Raises
    ------
    InputError
        If a layer is unknown or a picture too small for it, no tile fits, or the photo cannot be
        painted in one pass as the settings require.
    """
    machine = machine or Machine()
    threads = thread_count(machine.threads)
    scales = checked_sizes(bound.network, settings, photo, paintings)
    photo_sizes, painting_sizes = (tuple(sizes) for sizes in zip(*scales, strict=True))
    if device.is_gpu:
        if isinstance(machine.tile, int) or machine.cluster is not None:
            option = "--tile" if machine.cluster is None else "--cluster"
            raise InputError(
                f"{option}: tiles run on the CPU only; use --device cpu, or leave it out"
            )
        memory = allowed_memory(None, CPU, SHARE)
        strategies = tuple(_on_gpu(bound, settings, *sizes, threads) for sizes in scales)
    else:
        memory = allowed_memory(machine.memory, device, SHARE)
        strategies = tuple(
            choose_strategy(bound, settings, *sizes, threads, machine, memory) for sizes in scales
        )
    start = choose_start(settings, photo_sizes[0], len(paintings), threads, memory)
    return Plan(
        bound,
        replace(settings, init=start.init),
        photo_sizes,
        painting_sizes[-1],
        threads,
        strategies,
        start,
        device,
        machine,
        reading,
    )


def checked_sizes(
    network: Network, settings: Settings, photo: Size, paintings: Sequence[Size]
) -> list[tuple[Size, tuple[Size, ...]]]:
    """Return the sizes of the photo and of the paintings at each scale.

    Raises
    ------
    InputError
        If a layer is unknown or a picture too small for it.
    """
    scales = []
    for size in settings.scale_sizes():
        photo_size = fit_size(*photo, size)
        own_sizes = tuple(painting_size(painting, size, settings) for painting in paintings)
        shapes(network, [*settings.content_layers, *settings.style_layers], *photo_size)
        for own_size in own_sizes:
            shapes(network, settings.style_layers, *own_size)
        scales.append((photo_size, own_sizes))
    return scales


def _on_gpu(
    bound: BoundNetwork, settings: Settings, photo: Size, paintings: Sequence[Size], threads: int
) -> Strategy:
    """Return the only strategy on a GPU: the whole picture at once."""
    vectors = vectors_held(settings.optimizer, settings.iterations, engine=bound.engine)
    return Strategy(None, None, whole_bytes(bound, settings, photo, paintings, threads, vectors))


def check_memory(plan: Plan) -> None:
    """Raise InputError, naming a size that fits, if the plan needs more memory than there is."""
    free = allowed_memory(plan.machine.memory, plan.device)
    if plan.memory <= free:
        return
    needs = (
        f"the run needs {plan.memory / 1e9:.2f} GB of {_memory_of(plan.device)} "
        f"and {max(0, free) / 1e9:.2f} GB are"
    )
    if plan.machine.memory is not None:
        given, needed = plan.machine.memory / 1e9, plan.peak_memory / 1e9
        raise InputError(
            f"--memory {given:.2f}GB: the run needs {needed:.2f} GB in all; allow that much, or "
            f"{_mend(plan, free)}"
        )
    if isinstance(plan.machine.tile, int):
        raise InputError(
            f"--tile {plan.machine.tile}: {needs} left for it; use a smaller tile, or --tile auto"
        )
    size = plan.settings.scale_sizes()[-1]
    raise InputError(f"--size {size}: {needs} free; {_mend(plan, free)}")


def out_of_memory(plan: Plan | None, device: Device) -> str:
    """Return the sentence for a run whose memory ran out although it should have sufficed."""
    if plan is None:
        return f"--device {device}: {_memory_of(device)} does not hold the network; free some"
    return (
        f"--size {plan.settings.scale_sizes()[-1]}: {_memory_of(device)} ran out, "
        f"although the run should need only {plan.memory / 1e9:.2f} GB; "
        f"{_mend(plan, plan.memory * 3 // 4)}"
    )


def _memory_of(device: Device) -> str:
    return "the GPU's memory" if device.is_gpu else "memory"


def _mend(plan: Plan, free: int) -> str:
    """Return advice for a plan that needs more memory than this."""
    if plan.reading > free and not plan.device.is_gpu:
        return "scale the picture files down first"

    def needed(size: int) -> int:
        settings = replace(plan.settings, size=size, scales=(size,))
        photo, paintings = plan.photo_sizes[-1], plan.painting_sizes
        return make_plan(plan.bound, settings, photo, paintings, plan.machine, plan.device).memory

    size = largest_side(1, plan.settings.scale_sizes()[-1], needed, free)
    if size is not None:
        return f"use --size {size} or less"
    return "lower --style-scale" if plan.settings.style_scale > 1 else "free some memory first"
