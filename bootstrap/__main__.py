"""`python3 -m bootstrap setup|doctor`: what `make setup` and `make doctor` call."""

import argparse
import sys

from bootstrap import doctor, install
from bootstrap.errors import SetupError


def main() -> int:
    """Parses the command line and runs one verb; returns the exit code (2: the host cannot be set up as asked)."""
    parser = argparse.ArgumentParser(prog="python3 -m bootstrap", description="Sets Pressline up on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    setup = verbs.add_parser("setup", help="make or repair .venv")
    setup.add_argument("--group", choices=install.GROUPS, default="dev", help="which dependency group (default: dev)")
    setup.add_argument("--gpu", action="store_true", help="add TensorFlow's CUDA wheels")
    verbs.add_parser("doctor", help="what this host has and lacks")
    options = parser.parse_args()
    try:
        if options.verb == "setup":
            install.setup(options.group, options.gpu)
            return 0
        return doctor.report()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
