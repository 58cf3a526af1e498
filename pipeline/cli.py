"""The command line of the line. Nothing heavy is imported before the arguments are known to be good."""

import argparse
import os
import sys
from collections.abc import Sequence

BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        0: done, or nothing to do; 1: a failure; 2: bad input, nothing was changed; 3: the model was not blessed.
    """
    options = _parser().parse_args(arguments)
    _quiet()
    from data.errors import InputError as DataInputError
    from serving.errors import InputError

    try:
        return int(_VERBS[options.verb](options))
    except (InputError, DataInputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Raw records to a judged, pushed model.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, needs_task: bool = True) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text)
        if needs_task:
            one.add_argument("task", help="a task of pipeline/tasks/__init__.py, or the dotted path of a task module")
        return one

    def takes_records(one: argparse.ArgumentParser) -> None:
        one.add_argument("--data", metavar="DIR", help="your own span-<N>/ folders instead of the task's source")
        one.add_argument(
            "--environment", default="local", metavar="NAME", help="a name in pipeline/environments/, or a path"
        )

    run = verb("run", "run the line: ingest, check, train, evaluate, judge, push")
    takes_records(run)
    run.add_argument("--until-span", type=int, metavar="N", help="train as if span N were the newest")
    run.add_argument("--window", type=int, metavar="K", help="learn from the K newest spans")
    run.add_argument("--force", action="store_true", help="run although nothing has changed")

    backtest = verb("backtest", "train before each span, score all of it")
    takes_records(backtest)
    backtest.add_argument("--spans", required=True, metavar="N,N", help="the spans to score, such as 7,11,14")

    verb("data", "show a task's spans: rows, dates, sizes, licence")
    schema = verb("schema", "`schema diff TASK`: what a new span would change in the curated schema", needs_task=False)
    schema.add_argument("action", choices=("diff",))
    schema.add_argument("task", help="a task, as for run")
    schema.add_argument("--data", metavar="DIR", help="your own span-<N>/ folders instead of the task's source")
    schema.add_argument("--span", type=int, metavar="N", help="the span to compare (default: the newest)")

    bless = verb("bless", "push the model of a run although its verdict or check says no", needs_task=False)
    bless.add_argument("run", help="the run's name, from `python -m pipeline runs`")
    bless.add_argument("--reason", required=True, help="why; kept with your name in the ledger")

    rebaseline = verb("rebaseline", "choose the model that candidates are compared with")
    rebaseline.add_argument("--version", type=int, metavar="V", help="a pushed version (default: no baseline at all)")
    rebaseline.add_argument("--reason", required=True, help="why; kept with your name in the ledger")

    verb("why", "why is the live version live: its story with the evidence")
    runs = verb("runs", "list runs", needs_task=False)
    runs.add_argument("task", nargs="?", help="only this task's")
    return parser


def _quiet() -> None:
    """Keeps TensorFlow's start-up chatter off the screen unless it was asked for."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _run(options: argparse.Namespace) -> int:
    from pipeline.run import RunOptions, run

    return run(
        RunOptions(options.task, options.environment, options.data, options.until_span, options.window, options.force)
    )


def _backtest(options: argparse.Namespace) -> int:
    from pipeline.backtest import backtest
    from serving.errors import InputError

    try:
        spans = tuple(sorted({int(part) for part in options.spans.split(",")}))
    except ValueError:
        raise InputError(
            f"--spans takes whole numbers separated by commas, such as 7,11,14; got {options.spans!r}"
        ) from None
    return backtest(options.task, spans, options.environment, options.data)


def _data(options: argparse.Namespace) -> int:
    from data.show import describe
    from pipeline.tasks import find
    from serving.errors import InputError

    task = find(options.task)
    if task.source is None:
        raise InputError(f"task {task.name!r} has no source in the catalogue; its records are given with --data DIR")
    print(describe(task.source))
    return 0


def _schema(options: argparse.Namespace) -> int:
    from pipeline.schema_diff import show

    return show(options.task, options.data, options.span)


def _bless(options: argparse.Namespace) -> int:
    from pipeline.overrides import bless

    return bless(options.run, options.reason)


def _rebaseline(options: argparse.Namespace) -> int:
    from pipeline.overrides import rebaseline

    return rebaseline(options.task, options.version, options.reason)


def _why(options: argparse.Namespace) -> int:
    from pipeline.history import why

    return why(options.task)


def _runs(options: argparse.Namespace) -> int:
    from pipeline.history import runs

    return runs(options.task)


_VERBS = {
    "run": _run,
    "backtest": _backtest,
    "data": _data,
    "schema": _schema,
    "bless": _bless,
    "rebaseline": _rebaseline,
    "why": _why,
    "runs": _runs,
}
