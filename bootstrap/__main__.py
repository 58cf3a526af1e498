"""`python3 -m bootstrap setup|doctor|lock`: what `make setup`, `make doctor` and `make lock` call."""

import argparse
import os
import sys
from typing import List, Optional

from bootstrap import doctor, install, lock
from bootstrap.errors import SetupError
from bootstrap.place import GROUPS, Place


def main(arguments: Optional[List[str]] = None, place: Optional[Place] = None) -> int:
    """Parses the command line and runs one verb.

    Returns:
        The exit code: 0 done, 1 the doctor found something lacking, 2 the host cannot be set up as asked,
        130 interrupted.
    """
    parser = argparse.ArgumentParser(prog="python3 -m bootstrap", description="Sets Pressline up on this machine.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.required = True
    setup = verbs.add_parser("setup", help="make or repair .venv")
    setup.add_argument("--group", choices=GROUPS, default="dev", help="which dependency group (default: dev)")
    setup.add_argument("--gpu", action="store_true", help="add TensorFlow's CUDA wheels")
    verbs.add_parser("doctor", help="say what this host has and lacks")
    locks = verbs.add_parser("lock", help="compile bootstrap/requirements/*.in into their locks")
    locks.add_argument("--upgrade", action="store_true", help="take the newest versions, not the present ones")
    options = parser.parse_args(arguments)
    place = place or Place()
    try:
        if options.verb == "setup":
            install.setup(place, options.group, options.gpu)
        elif options.verb == "lock":
            lock.compile_all(place, options.upgrade)
        else:
            return doctor.report(place)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again to continue", file=sys.stderr)
        return 130
    return 0


def leave_the_venv() -> None:
    """Starts over with the host's own Python when the venv's was called: it may be replaced, and its C runtime is not
    the host's."""
    original = getattr(sys, "_base_executable", None)
    if sys.prefix != sys.base_prefix and original and os.path.realpath(original) != os.path.realpath(sys.executable):
        os.execv(original, [original, "-m", "bootstrap", *sys.argv[1:]])


if __name__ == "__main__":
    leave_the_venv()
    sys.exit(main())
