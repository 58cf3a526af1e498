"""`python -m pipeline.training_worker JOB.json`: one worker of a distributed training; TF_CONFIG says which."""

import sys
from pathlib import Path

from pipeline.training import TrainingJob, train

if __name__ == "__main__":
    train(TrainingJob.from_json(Path(sys.argv[1]).read_text()))
