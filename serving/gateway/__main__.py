"""`python -m serving.gateway`: the front door of the model servers, until SIGTERM or Ctrl-C."""

import argparse
import logging
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.errors import InputError
from serving.gateway.settings import Settings, check, flag
from serving.status import StatusError

BAD_INPUT, FAILED = 2, 1


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 after a signal, 2 where a flag, a file or a port is wrong."""
    parser = _parser()
    settings = Settings(**vars(parser.parse_args(arguments)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    try:
        check(settings)  # before what takes time to import
        _serve(settings)
    except (InputError, StatusError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _serve(settings: Settings) -> None:
    import uvloop

    from serving.gateway.server import serve

    uvloop.run(serve(settings))


def _parser() -> argparse.ArgumentParser:
    """One flag for each field of Settings; what is not given is left to its default there."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.gateway", description=__doc__, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    defaults = Settings()
    for name, annotated in typing.get_type_hints(Settings, include_extras=True).items():
        kind, meaning = typing.get_args(annotated)
        many = kind == tuple[str, ...]
        kind = str if many else Path if kind == Path | None else kind
        default = getattr(defaults, name)
        if default not in (None, ""):
            meaning += f" (default {' '.join(default) if many else default})"
        action: dict[str, Any] = {"action": _Append} if many else {}
        text = meaning.replace("%", "%%")
        parser.add_argument(flag(name), dest=name, type=kind, help=text, metavar=_METAVARS[kind], **action)
    return parser


_METAVARS = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


class _Append(argparse.Action):
    """Collects a flag's values into a tuple; the first one replaces the default."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), values))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
