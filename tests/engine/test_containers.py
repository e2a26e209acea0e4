import pytest

from npstyle.engine import containers, machine

LARGE = 9223372036854771712
"""What version 1 says where there is no limit."""


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A function that lays out a tree of groups: the process's groups, and files by name."""

    def lay_out(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    monkeypatch.setattr(containers, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(containers, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_cores", lambda: 64)
    return lay_out


MEMORY = {
    "the own group of version 2": ("0::/a/b", {"a/b/memory.max": 1000}, 900),
    "a group around it": (
        "0::/a/b/c",
        {"a/memory.max": 500, "a/b/memory.max": "max", "a/b/c/memory.max": 1000},
        400,
    ),
    "the root of a container": ("0::/", {"memory.max": 800}, 700),
    "a tree that begins at the container": ("0::/docker/3f", {"memory.max": 800}, 700),
    "a group outside the container's tree": ("0::/../other", {"memory.max": 800}, 700),
    "what others in the group use": (
        "0::/a",
        {
            "a/memory.max": 1000,
            "a/memory.current": 700,
            "a/memory.stat": "anon 400\ninactive_file 200\nactive_file 50",
        },
        1000 - 450,
    ),
    "more than the limit": ("0::/a", {"a/memory.max": 50}, 0),
    "no limit": ("0::/a", {"a/memory.max": "max"}, None),
    "no groups": ("", {}, None),
    "the own group of version 1": (
        "5:memory:/d/3f\n1:name=systemd:/d/3f",
        {"memory/d/3f/memory.limit_in_bytes": 600, "memory/memory.limit_in_bytes": LARGE},
        500,
    ),
    "a group around it in version 1": (
        "5:memory:/d/3f",
        {
            "memory/d/memory.limit_in_bytes": 400,
            "memory/d/memory.usage_in_bytes": 300,
            "memory/d/memory.stat": "inactive_file 1\ntotal_inactive_file 50\ntotal_active_file 9",
            "memory/d/3f/memory.limit_in_bytes": 600,
        },
        400 - 241,
    ),
}


@pytest.mark.parametrize("case", MEMORY)
def test_the_tightest_memory_limit_around_the_process_counts(groups, case):
    own, files, free = MEMORY[case]
    groups(own, files)
    assert containers.free_memory(100) == free


PROCESSORS = {
    "version 2": ("0::/a", {"a/cpu.max": "150000 100000"}, 1.5, 2),
    "a group around it": (
        "0::/a/b",
        {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"},
        2,
        2,
    ),
    "less than one": ("0::/", {"cpu.max": "20000 100000"}, 0.2, 1),
    "no limit": ("0::/a", {"a/cpu.max": "max 100000"}, None, 64),
    "more than there are": ("0::/a", {"a/cpu.max": "9900000 100000"}, 99, 64),
    "version 1": (
        "4:cpu,cpuacct:/d/3f",
        {
            "cpu,cpuacct/d/3f/cpu.cfs_quota_us": -1,
            "cpu,cpuacct/d/3f/cpu.cfs_period_us": 100000,
            "cpu,cpuacct/d/cpu.cfs_quota_us": 300000,
            "cpu,cpuacct/d/cpu.cfs_period_us": 100000,
        },
        3,
        3,
    ),
    "no groups": ("", {}, None, 64),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_the_tightest_quota_of_processors_sets_the_threads(groups, case):
    own, files, share, threads = PROCESSORS[case]
    groups(own, files)
    assert containers.processors() == share
    assert machine.thread_count(None) == threads
    assert machine.thread_count(7) == 7


def test_the_memory_that_a_run_may_take_is_bounded_by_the_container(groups):
    held = machine.held_memory()
    groups("0::/a/b", {"a/memory.max": 2 * held, "a/memory.current": 2 * held - 12345})
    assert machine.available_memory() == 12345
