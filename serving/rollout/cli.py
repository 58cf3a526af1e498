"""`python -m serving.rollout VERB`: run the controller, steer rollouts, look at them.

Nothing heavy is imported before the arguments are known to be good.
"""

import argparse
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from serving.errors import InputError
from serving.home import home, models_dir
from serving.traffic_plan import plan_path

if TYPE_CHECKING:
    from serving.rollout.store import Ask, Store, Verb

PROGRAM = "python -m serving.rollout"
BAD_INPUT, UNANSWERED, INTERRUPTED = 2, 1, 130
WAIT_S, POLL_S = 60.0, 0.1
PAGE_PORT = 8620
VERBS = {
    "pause": "hold the share and the step; guardrails still act",
    "resume": "go on after a pause",
    "promote": "make the candidate stable now, whatever the analysis says",
    "abort": "take the candidate back and mark it bad; after a promotion too, while the version before is loaded",
    "retry": "take the mark off a bad version and start it again",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out one verb.

    Returns:
        0: done; 1: an ask was recorded, and no controller took it within the time of --wait; 2: bad input.
    """
    options = _parser(list(sys.argv[1:] if arguments is None else arguments))
    try:
        return cast(Callable[[argparse.Namespace], int], options.do)(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Versions meet users little by little, or leave.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(do=do)
        return one

    _run_flags(verb("run", "run the controller until Ctrl-C", _run))
    start = verb("start", "ask for the rollout of a pushed version", _start)
    start.add_argument("model")
    start.add_argument("version", type=int)
    start.add_argument("--reason", default="", help="why; kept with your name in the ledger")
    status = verb("status", "show where rollouts stand", _status)
    status.add_argument("model", nargs="?")
    status.add_argument("--json", action="store_true", help="for machines")
    page = f"http://127.0.0.1:{PAGE_PORT}"
    status.add_argument(
        "--page", default=page, metavar="URL", help="the controller's status page (default %(default)s)"
    )
    for name, text in VERBS.items():
        one = verb(name, text, _ask)
        one.add_argument("model")
        one.add_argument("--reason", default="", help="why; kept with your name in the ledger")
        wait = f"until a controller has taken it, at most so long (default {WAIT_S:g})"
        one.add_argument("--wait", nargs="?", type=float, const=WAIT_S, metavar="SECONDS", help=wait)
        one.set_defaults(version=None)
        if name == "retry":
            one.add_argument("--version", type=int, metavar="V", help="default: the newest that was rolled out")
    history = verb("history", "show every change with its actor and reason", _history)
    history.add_argument("model")
    history.add_argument("--numbers", action="store_true", help="and what was known at each change")
    history.add_argument("--json", action="store_true", help="for machines: one object a line, with all numbers")
    render = verb("render", "write the traffic plan for nginx, Envoy or Kubernetes", _render)
    if arguments[:1] == ["render"]:
        from serving.deploy.render import flags

        flags(render)
    return parser.parse_args(arguments)


def _run_flags(parser: argparse.ArgumentParser) -> None:
    serving = home() / "serving"
    parser.add_argument(
        "--replica", action="append", required=True, metavar="HOST:PORT", help="gRPC of a model server; once for each"
    )
    parser.add_argument(
        "--gateway",
        action="append",
        default=[],
        metavar="URL",
        help="REST of a gateway, whose tallies are judged; once for each",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML: steps, guardrails, outcome, limits")
    parser.add_argument(
        "--config", type=Path, default=serving / "models.config", help="model servers' (default %(default)s)"
    )
    parser.add_argument("--plan", type=Path, default=plan_path(), help="the gateways' (default %(default)s)")
    parser.add_argument(
        "--impressions",
        default=str(serving / "impressions"),
        metavar="FOLDER",
        help="the gateways', for the outcome; '' for none (default %(default)s)",
    )
    text = "the gateways' --flush-s: how late what they log may come (default %(default)s)"
    parser.add_argument("--flush-s", type=float, default=10.0, metavar="SECONDS", help=text)
    parser.add_argument("--host", default="127.0.0.1", help="of the status page (default %(default)s)")
    parser.add_argument("--port", type=int, default=PAGE_PORT, help="of the status page (default %(default)s)")
    text = "bearer token that the status page wants for verbs (default: $PRESSLINE_TOKEN, else none)"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=text)


def _run(options: argparse.Namespace) -> int:
    from serving.gateway.access import read_token
    from serving.rollout.settings import load

    for target in options.replica:
        _check_target(target)
    for url in options.gateway:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise InputError(f"--gateway is a URL such as http://127.0.0.1:8600; got {url!r}")
    load(options.settings, "")
    token = read_token(options.token_file)
    from serving.rollout.run import run

    return run(options, token)


def _check_target(target: str) -> None:
    host, _, port = target.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError(f"--replica is HOST:PORT of a model server's gRPC, such as 127.0.0.1:8500; got {target!r}")


def _start(options: argparse.Namespace) -> int:
    from serving import model_directory
    from serving.rollout.report import state
    from serving.rollout.store import open_store

    there = model_directory.versions(models_dir(options.model))
    if options.version not in there:
        has = ", ".join(map(str, there)) or "none"
        raise InputError(f"{models_dir(options.model)} has no version {options.version}; it has {has}")
    store = open_store()
    rollout = store.submit(options.model, options.version, who(), options.reason)
    print(f"{rollout.model}: version {rollout.version} is {state(rollout, None)}; {_who_leads(store)}")
    return 0


def _ask(options: argparse.Namespace) -> int:
    from serving.rollout.store import open_store

    store = open_store()
    verb = cast("Verb", options.verb)
    ask = store.ask(options.model, verb, who(), options.reason, options.version)
    if ask.said is None and options.wait is not None:
        ask = _waited(store, ask, options.wait)
    if ask.said is not None:
        print(f"{ask.model}: {ask.said}")
        return 0
    print(f"{ask.model}: {ask.verb} is recorded; {_who_leads(store)}")
    return 0 if options.wait is None else UNANSWERED


def _waited(store: "Store", ask: "Ask", limit_s: float) -> "Ask":
    """The ask when it was taken, or as it is when the time is over; a database that is away is asked again."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            ask = store.told(ask)
        except InputError:
            if time.monotonic() > deadline:
                raise
        if ask.said is not None or time.monotonic() > deadline:
            return ask
        time.sleep(POLL_S)


def _who_leads(store: "Store") -> str:
    leader = store.leader()
    if leader.lately():
        return f"the controller {leader.holder} leads"
    return f"no controller leads, it waits until one does (`{PROGRAM} run`)"


def _status(options: argparse.Namespace) -> int:
    from serving.rollout.status_table import show

    return show(options.model, options.page, options.json)


def _history(options: argparse.Namespace) -> int:
    from serving.rollout.history import show

    return show(options.model, options.json, options.numbers)


def _render(options: argparse.Namespace) -> int:
    from serving.deploy.render import verb

    return verb(options)


def who() -> str:
    """`user@host` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
