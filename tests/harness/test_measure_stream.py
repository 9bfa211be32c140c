"""Reading a trace: lines as strace writes them, and what they come to."""

from __future__ import annotations

import pytest

from deathwatch.measure.stream import calls
from deathwatch.measure.syscalls import MARK, spans

FILE = "/data/font.ttf"


def marked(*lines: str, pid: int = 7) -> list[str]:
    """`lines` between the markers of a span named "run"."""
    begin, end = (
        f'{pid} access("{MARK}{edge}/run", F_OK) = -1 ENOENT' for edge in ("begin", "end")
    )
    return [begin, *lines, end]


MAP = f"7 mmap(NULL, 9, PROT_READ, MAP_SHARED, 3<{FILE}>, 0) = 0x7f0000000000"
UNMAP = "7 munmap(0x7f0000000000, 9) = 0"


@pytest.mark.parametrize(
    ("line", "name", "path"),
    [
        (f'7 openat(AT_FDCWD</tmp>, "{FILE}", O_RDONLY) = 3<{FILE}>', "openat", FILE),
        (f'7 openat(AT_FDCWD</tmp>, "{FILE}", O_RDONLY) = -1 EMFILE (Too many)', "openat", FILE),
        (f'7 openat(AT_FDCWD</tmp>, "link", O_RDONLY) = 3<{FILE}>', "openat", FILE),
        (f'7 openat2(4</data>, "font.ttf", {{flags=0}}, 24) = 3<{FILE}>', "openat", FILE),
        (f'7 newfstatat(3<{FILE}>, "", {{st_size=9}}, AT_EMPTY_PATH) = 0', "fstat", FILE),
        (f'7 newfstatat(AT_FDCWD</tmp>, "{FILE}", {{st_size=9}}, 0) = 0', "stat", FILE),
        (f"7 fstat(3<{FILE}>, {{st_mode=S_IFREG|0644, st_size=9, ...}}) = 0", "fstat", FILE),
        (f"7 fcntl(3<{FILE}>, F_DUPFD_CLOEXEC, 0) = 4<{FILE}>", "fcntl", FILE),
        (f"7 _llseek(3<{FILE}>, 0, [0], SEEK_CUR) = 0", "lseek", FILE),
        (f"7 mmap2(NULL, 9, PROT_READ, MAP_SHARED, 3<{FILE}>, 0) = 0x7f00", "mmap", FILE),
        (f'7 read(3<{FILE}>, "5<not>this = 1", 9) = 9', "read", FILE),
        ('7 faccessat2(AT_FDCWD</tmp>, "/a b", F_OK, 0) = -1 ENOENT', "access", "/a b"),
        ("7 close(5<socket:[123]>) = 0", "close", "socket:[123]"),
        (r"7 close(3</d/q\"\74x\76\\\n\377\303\251>) = 0", "close", '/d/q"<x>\\\n\udcffé'),
    ],
)
def test_a_call_is_named_alike_everywhere_and_knows_its_file(
    line: str, name: str, path: str
) -> None:
    """Names are those of x86-64, whatever the architecture; the file is the descriptor's."""
    (call,) = calls([line])
    assert (call.name, call.path) == (name, path)


def test_lines_that_are_no_calls_are_passed_over() -> None:
    """Signals and exits are not calls."""
    noise = ["7 +++ exited with 0 +++\n", "7 --- SIGCHLD {si_signo=SIGCHLD} ---\n", "garbage\n", ""]
    assert list(calls(noise)) == []


def test_a_call_on_two_lines_counts_once() -> None:
    """Another thread's call in between splits the line; the descriptor stands on the first."""
    lines = [
        f"7 mmap(NULL, 9, PROT_READ, MAP_SHARED, 3<{FILE}>, 0 <unfinished ...>\n",
        f"8 close(4<{FILE}> <unfinished ...>\n",
        "7 <... mmap resumed>) = 0x7f0000000000\n",
        "8 <... close resumed>) = 0\n",
    ]
    assert [(c.name, c.path, c.address) for c in calls(lines)] == [
        ("mmap", FILE, "0x7f0000000000"),
        ("close", FILE, None),
    ]


def test_an_address_given_again_before_the_unmapping_returned_is_followed() -> None:
    """munmap counts when it is called: the kernel may hand the address out before it returns."""
    lines = marked(
        MAP,
        "7 munmap(0x7f0000000000, 9 <unfinished ...>",
        MAP.replace("7 mmap", "8 mmap"),
        "7 <... munmap resumed>) = 0",
        "8 munmap(0x7f0000000000, 9) = 0",
    )
    span = spans(calls(lines), {FILE})["run"]
    assert span.counts == {"mmap": 2, "munmap": 2}
    assert span.left == 0


def test_only_the_chosen_files_count() -> None:
    """Anonymous maps, other files, and munmaps of other addresses are not the benchmark's."""
    lines = marked(
        "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1",
        "7 mmap(NULL, 9, PROT_READ, MAP_SHARED, 3</other>, 0) = 0x7f2",
        MAP,
        "7 munmap(0x7f1, 4096) = 0",
        "7 munmap(0x7f2, 9) = 0",
        UNMAP,
    )
    assert spans(calls(lines), {FILE})["run"].calls == ("mmap", "munmap")


def test_what_lies_outside_the_markers_does_not_count() -> None:
    """Start-up and shutdown of the interpreter are outside."""
    lines = [MAP, UNMAP, *marked(MAP, UNMAP), MAP]
    assert spans(calls(lines), {FILE})["run"].calls == ("mmap", "munmap")


def test_a_mapping_never_unmapped_is_left() -> None:
    """The offender: mapped in the span, and not unmapped in it."""
    span = spans(calls(marked(MAP, MAP.replace("0x7f0", "0x7e0"), UNMAP)), {FILE})["run"]
    assert span.left == 1


def test_a_failed_map_is_a_call_but_leaves_nothing() -> None:
    """ENOMEM costs a call; there is nothing to unmap."""
    failed = MAP.rpartition(" = ")[0] + " = -1 ENOMEM (Cannot allocate memory)"
    span = spans(calls(marked(failed)), {FILE})["run"]
    assert (span.calls, span.left) == (("mmap",), 0)


def test_a_span_that_never_ended_is_not_reported() -> None:
    """A process that died in the span has no count, rather than a low one."""
    assert spans(calls(marked(MAP, UNMAP)[:-1]), {FILE}) == {}
