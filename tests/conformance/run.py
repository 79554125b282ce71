"""Run the Autobahn|Testsuite against our server and our client, and say which cases were not OK.

    python tests/conformance/run.py [--roles server,client] [--flavour twisted|asyncio|uvloop] [--sections core]

The cases are dealt out to several fuzzers that run side by side, since most cases wait most of the time.  For the
server's role each fuzzing client has an echo server of its own, for the client's role each fuzzing server a client.

Exit status: 0 every case is fine, 1 some are not, 2 usage, 77 skipped because there is no CPython 2.7.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench import Bench, Shard, deal, run_shard
from cases import select
from tally import judge, read_reports
from testsuite import ensure_environment, find_python27

HERE = Path(__file__).parent
FAILED, USAGE, SKIPPED = 1, 2, 77
ROLES = ("server", "client")
FLAVOURS = ("twisted", "asyncio", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite as the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        cases = select(options.sections)
    except ValueError as error:
        print(error, file=sys.stderr)
        return USAGE
    python27 = find_python27()
    if python27 is None:
        print("SKIPPED: no CPython 2.7 found; the Autobahn|Testsuite needs one, on PATH or under ~/.pyenv/versions")
        return SKIPPED
    if not _is_build(options.build):
        return FAILED
    bench = _set_up(options, ensure_environment(options.work / "autobahntestsuite", python27))
    return _run(bench, options.roles, cases, options.shards)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=_words, default=["core"], help="as 1,6.4,9.1.2 or core, compression, all")
    parser.add_argument("--roles", type=_roles, default=ROLES, help="what of ours is tested: server,client")
    parser.add_argument("--flavour", default="twisted", choices=FLAVOURS, help="which flavour of ours (twisted)")
    parser.add_argument("--build", choices=["compiled", "pure"], help="fail unless this build is installed")
    parser.add_argument("--shards", type=int, default=2, help="fuzzers side by side for each role (2)")
    parser.add_argument("--patience", type=float, default=1800.0, help="seconds until a fuzzer is given up (1800)")
    parser.add_argument("--work", type=Path, default=Path(".tox/conformance"), help="for the suite and its reports")
    parser.add_argument("--server-command", type=shlex.split, help="test this server instead; it prints its URL")
    parser.add_argument("--client-command", type=shlex.split, help="test this client; it is given a URL and an agent")
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _roles(text: str) -> list[str]:
    roles = _words(text)
    if not roles or set(roles) - set(ROLES):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are {', '.join(ROLES)}, or both with a comma")
    return roles


def _is_build(wanted: str | None) -> bool:
    if wanted is None:
        return True
    import wsfactory  # not at the top: other servers and clients are tested without it

    build = "compiled" if wsfactory.COMPILED else "pure"
    print(f"wsfactory {build}: {wsfactory.__file__}")
    if build != wanted:
        print(f"the {wanted} build was asked for, the {build} one is installed", file=sys.stderr)
    return build == wanted


def _set_up(options: argparse.Namespace, python: Path) -> Bench:
    ours = {role: [sys.executable, str(HERE / f"{role}.py"), "--flavour", options.flavour] for role in ROLES}
    reports = options.work / "reports"
    return Bench(
        fuzzer=(str(python.absolute()), str(HERE / "fuzzer.py")),
        server=tuple(options.server_command or ours["server"]),
        client=tuple(options.client_command or ours["client"]),
        reports=reports.absolute(),
        patience_seconds=options.patience,
    )


def _run(bench: Bench, roles: Sequence[str], cases: Sequence[str], width: int) -> int:
    started = time.monotonic()
    shards = [Shard(role, number, hand) for role in roles for number, hand in enumerate(deal(cases, width), 1)]
    with ThreadPoolExecutor(len(shards)) as pool:
        complaints = list(filter(None, pool.map(partial(run_shard, bench), shards)))
    indexes = {role: [bench.index(shard) for shard in shards if shard.role == role] for role in roles}
    tallies = [judge(role, cases, read_reports(indexes[role])) for role in roles]
    print("\n".join([*complaints, *(line for tally in tallies for line in tally.lines())]))
    print(f"{len(cases)} cases a role in {time.monotonic() - started:.0f} s; reports and logs: {bench.reports}")
    return FAILED if complaints or any(tally.faults for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
