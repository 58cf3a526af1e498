"""`python -m serving.rollout VERB`."""

import sys

from serving.rollout.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
