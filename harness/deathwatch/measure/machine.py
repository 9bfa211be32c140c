"""The machine, in words that are safe to publish: no host name, user name or path."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from typing import Any


def describe() -> dict[str, Any]:
    """Describe the machine and the interpreter, as far as figures depend on them."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": _usable_cpus(),
        "page_size": _sysconf("SC_PAGE_SIZE"),
        "memory": _memory(),
        "descriptor_limit": descriptor_limit(),
        "max_map_count": max_map_count(),
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "compiler": platform.python_compiler(),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        },
    }


def short() -> str:
    """One phrase for file names: `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine() or 'unknown'}".lower()


def python_short() -> str:
    """One phrase for file names: `cpython-3.13`, `cpython-3.13t`, `pypy-3.11`."""
    threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}{threads}"
    return f"{sys.implementation.name}-{version}"


def descriptor_limit() -> list[int] | None:
    """The soft and hard limit of open descriptors, -1 for none; None where there is no such."""
    if sys.platform == "win32":
        return None
    import resource

    return list(resource.getrlimit(resource.RLIMIT_NOFILE))


def max_map_count() -> int | None:
    """How many mappings the kernel allows a process (vm.max_map_count); None if it doesn't say."""
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _usable_cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory() -> int | None:
    pages, size = _sysconf("SC_PHYS_PAGES"), _sysconf("SC_PAGE_SIZE")
    return pages * size if pages and size else None


def _sysconf(name: str) -> int | None:
    try:
        return os.sysconf(name)
    except (AttributeError, ValueError, OSError):
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
