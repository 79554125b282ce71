"""How long bytes take to become messages in the application, ours and the peers', and messages to become bytes.

    python benchmarks/codec.py            half a minute; --rounds 5 for a quick look

Everything is measured in one process, in turns: each round gives every subject some milliseconds, in another order,
and the median of its rounds counts.  The time is this process's CPU time.  The Python function that is called with
each message is included, the event loop and the socket are not.  All messages are binary and masked.  The compiled and
the pure build of wsfactory run side by side: the Python source is loaded by its path.

The tables are reStructuredText, as docs/performance.rst has them.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib.util
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from codec_peers import FillPicows, OnMessage, Ours, Subject, installed

import wsfactory
from wsfactory import _codec

SIZES = {32: "32 B", 1024: "1 KiB", 1 << 16: "64 KiB", 1 << 20: "1 MiB"}
PER_READ = (1, 32)
SAMPLE_NS = 3_000_000
COMPILED, PURE = "wsfactory, compiled", "wsfactory, pure"
MEMMOVE = "memmove"
FILLING = "(filling picows' buffer)"

Medians = dict[str, float]
Timed = Callable[[int], None]


def pure_codec() -> ModuleType:
    """Return the codec's Python source as a module, whichever build is installed."""
    source = Path(_codec.__file__).with_name("_codec.py")
    spec = importlib.util.spec_from_file_location("wsfactory_pure_codec", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def builds() -> dict[str, ModuleType]:
    """Return our builds by name; only one where nothing was compiled."""
    pure = {PURE: pure_codec()}
    return {COMPILED: _codec, **pure} if _codec.COMPILED else pure


def medians_of(subjects: dict[str, Timed], rounds: int) -> Medians:
    """Return for each subject the median CPU time, in nanoseconds, of one of its runs."""
    times = {name: repetitions(run) for name, run in subjects.items()}
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    order = list(subjects)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            samples[name].append(cpu_time(subjects[name], times[name]) / times[name])
    return {name: statistics.median(values) for name, values in samples.items()}


def repetitions(run: Timed) -> int:
    """Return how often to run it in one sample."""
    run(1)
    times = 1
    while (spent := cpu_time(run, times)) < SAMPLE_NS / 4:
        times *= 2
    return max(1, round(times * SAMPLE_NS / spent))


def cpu_time(run: Timed, times: int) -> int:
    began = time.process_time_ns()
    run(times)
    return time.process_time_ns() - began


# Receiving.


def ignore(payload: bytes, is_binary: bool) -> None:
    """Be the application."""


def receivers(on_message: OnMessage) -> dict[str, Subject]:
    ours: dict[str, Subject] = {name: Ours(codec, on_message) for name, codec in builds().items()}
    return {**ours, **dict(installed(on_message)), FILLING: FillPicows(on_message)}


def check(data: bytes, messages: int, payload: bytes) -> None:
    """See to it that every subject really delivers every message."""
    got: list[bytes] = []
    for name, subject in receivers(lambda received, is_binary: got.append(bytes(received))).items():
        got.clear()
        for _ in range(2):
            subject.run(data, messages, 1)
        expected = [] if name == FILLING else [payload] * messages * 2
        assert got == expected, f"{name} delivered {len(got)} messages"


def receive_times(size: int, messages: int, rounds: int) -> Medians:
    """Return the nanoseconds that one message of *size* bytes takes, with so many of them in one read."""
    payload = random.randbytes(size)
    data = _codec.Encoder(_codec.MaskKeys()).frame(0x82, payload) * messages
    check(data, messages, payload)
    subjects = receivers(ignore)
    runs = {name: timed(subject, data, messages) for name, subject in subjects.items()}
    medians = medians_of(runs, rounds)
    filling = medians.pop(FILLING)
    if "picows" in medians:
        medians["picows"] -= filling
    return {name: median / messages for name, median in medians.items()}


def timed(subject: Subject, data: bytes, messages: int) -> Timed:
    return lambda times: subject.run(data, messages, times)


# Masking, and sending.


def copy_and_mask_times(rounds: int) -> Medians:
    """Return the nanoseconds of a memmove of 64 KiB, and of receiving a message of that size, all costs included.

    Of the memmove only the copying counts: what calling it through ctypes costs is measured, and taken off.
    """
    size = 1 << 16
    to, source = ctypes.create_string_buffer(size), ctypes.create_string_buffer(random.randbytes(size), size)
    data = _codec.Encoder(_codec.MaskKeys()).frame(0x82, source.raw)
    ours = {name: timed(Ours(codec, ignore), data, 1) for name, codec in builds().items()}
    medians = medians_of({MEMMOVE: copying(to, source, size), "": copying(to, source, 0), **ours}, rounds)
    medians[MEMMOVE] -= medians.pop("")
    return medians


def copying(to: ctypes.Array[ctypes.c_char], source: ctypes.Array[ctypes.c_char], size: int) -> Timed:
    def run(times: int) -> None:
        memmove = ctypes.memmove
        for _ in range(times):
            memmove(to, source, size)

    return run


def encode_times(size: int, rounds: int) -> Medians:
    """Return the nanoseconds that it takes to make one frame with *size* bytes."""
    payload = random.randbytes(size)
    subjects = {}
    for name, codec in builds().items():
        subjects[f"{name}, server"] = encoding(codec.Encoder(None).frame, payload)
        subjects[f"{name}, client"] = encoding(codec.Encoder(codec.MaskKeys()).frame, payload)
    return medians_of(subjects, rounds)


def encoding(frame: Callable[[int, bytes], bytes], payload: bytes) -> Timed:
    def run(times: int) -> None:
        for _ in range(times):
            frame(0x82, payload)

    return run


# The report.


def table(title: str, columns: dict[str, Medians], show: Callable[[str, str], str]) -> None:
    """Print a reStructuredText table: a row for each subject, a column for each measurement."""
    names = list(dict.fromkeys(name for medians in columns.values() for name in medians))
    rows = [[name, *(show(name, column) for column in columns)] for name in names]
    # Not an empty cell: docutils would take the row for the rest of another, and lose it.
    rows.insert(0, ["CPU time", *columns])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    print(f".. rubric:: {title}\n", rule, lines[0], rule, *lines[1:], rule, "", sep="\n")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report_receiving(columns: dict[str, Medians], sizes: dict[str, int]) -> None:
    table("Receiving: nanoseconds for one message", columns, lambda name, column: number(columns[column][name]))
    table("Receiving: GB/s", columns, lambda name, column: number(sizes[column] / columns[column][name]))
    for build in builds():
        table(
            f"Receiving: how many times the CPU time of {build}",
            columns,
            lambda name, column, build=build: number(columns[column][name] / columns[column][build]),  # type: ignore[misc]
        )


def report_aims(columns: dict[str, Medians], masking: Medians) -> None:
    """Print what was aimed at, and what came out."""
    single, many = columns["32 B"], columns["32 x 32 B"]
    if "aiohttp" in single and COMPILED in single:
        print(f"* aiohttp / compiled, 32 B: {single['aiohttp'] / single[COMPILED]:.2f} (aim: at least 4)")
    if "picows" in many and COMPILED in many:
        print(f"* picows / compiled, 32 x 32 B: {many['picows'] / many[COMPILED]:.2f} (aim: at least 1.5)")
    if COMPILED in masking:
        print(f"* memmove / receiving, 64 KiB: {masking[MEMMOVE] / masking[COMPILED]:.2f} (aim: at least 0.8)")
    if "aiohttp" in single:
        print(f"* pure / aiohttp, 32 B: {single[PURE] / single['aiohttp']:.2f} (aim: at most 1.3)")
    print()


def report_setting() -> None:
    """Print what runs here, and which peers cannot."""
    versions, missing = [], []
    for name in ("aiohttp", "picows", "websockets", "wsproto", "autobahn", "Cython"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(", ".join([f"wsfactory {wsfactory.__version__}", python, platform.machine(), *versions]))
    print(f"not installed: {', '.join(missing) or 'nothing'}\n")


async def main(rounds: int) -> None:
    """Measure and print; a coroutine only because some peers ask for a running loop."""
    report_setting()
    columns: dict[str, Medians] = {}
    sizes: dict[str, int] = {}
    for size, text in SIZES.items():
        for messages in PER_READ:
            column = text if messages == 1 else f"{messages} x {text}"
            columns[column] = receive_times(size, messages, rounds)
            sizes[column] = size
    report_receiving(columns, sizes)
    masking = copy_and_mask_times(rounds)
    table(
        "Receiving 64 KiB beside copying them: GB/s",
        {"64 KiB": masking},
        lambda name, column: number((1 << 16) / masking[name]),
    )
    encoding = {text: encode_times(size, rounds) for size, text in SIZES.items()}
    table("Sending: nanoseconds for one frame", encoding, lambda name, column: number(encoding[column][name]))
    report_aims(columns, masking)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="CPU time from bytes to messages, beside the peers that are installed")
    parser.add_argument("--rounds", type=int, default=40, help="samples of each subject (default: 40)")
    asyncio.run(main(parser.parse_args().rounds))
