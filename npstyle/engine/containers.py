"""The limits of control groups, by which Linux bounds the memory and the processors of a container.

Groups are nested, and a limit of any of them holds for all groups inside it. Version 2 has one tree
of groups; version 1 has one for memory and another for processors. /proc/self/cgroup names the
group of this process in each tree:

    0::/user.slice/run.scope                  version 2
    5:memory:/docker/3f2a                     version 1
    4:cpu,cpuacct:/docker/3f2a

In a container, the mounted tree may begin at the container's own group, while the name still counts
from the root of the machine. Then the named folders do not exist, and those that do are read.

Source: the Linux kernel's documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.
"""

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where the trees of groups are mounted."""

OWN_GROUPS = Path("/proc/self/cgroup")
"""The groups of this process."""


def free_memory(held: int) -> int | None:
    """Return the bytes that the groups still allow this process to take; None without a limit.

    Parameters
    ----------
    held : int
        Bytes that this process occupies, for a group that does not tell its own use.
    """
    found = []
    for folder in _folders("memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            allowed = _number(folder / limit)
            if allowed is not None:
                found.append(allowed - _used(folder, used, held))
    return max(0, min(found)) if found else None


def processors() -> float | None:
    """Return how many processors the groups allow, such as 1.5; None without a limit."""
    found = []
    for folder in _folders("cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is None:
            both = [_as_number(word) for word in _text(folder / "cpu.max").split()]
            quota, period = both if len(both) == 2 else (None, None)
        if quota and period:
            found.append(quota / period)
    return min(found, default=None)


def _used(folder: Path, name: str, held: int) -> int:
    """Return the bytes that a group uses, without cached files, which the kernel can drop."""
    used = _number(folder / name)
    if used is None:
        return held
    counts = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines())
    prefix = "total_" if "total_inactive_file" in counts else ""
    cached = sum(
        _as_number(counts.get(f"{prefix}{kind}_file", "0")) or 0 for kind in ("inactive", "active")
    )
    return max(0, used - cached)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of all groups around it, in both versions."""
    for line in _text(OWN_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            tree = CGROUPS
        elif controller in controllers.split(","):
            tree = CGROUPS / controller
            tree = tree if tree.is_dir() else CGROUPS / controllers
        else:
            continue
        inside = [part for part in group.split("/") if part]
        yield tree
        for depth in range(1, 1 + len(inside) * (".." not in inside)):
            yield tree.joinpath(*inside[:depth])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    return _as_number(_text(path))


def _as_number(text: str) -> int | None:
    """Read a number; None for "max", -1 and other words for no limit."""
    return int(text) if text.isascii() and text.isdigit() else None
