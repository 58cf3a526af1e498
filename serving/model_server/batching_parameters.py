"""How requests are put together into batches: TF Serving's BatchingParameters with its defaults."""

import itertools
from dataclasses import dataclass, field

from serving.model_server import cpus
from serving.status import Code, StatusError

THREAD_POOL_NAME = "batch_threads"
THREAD_POOL_NAME_WITHOUT_FILE = "model_server_batch_threads"


@dataclass(frozen=True)
class BatchingParameters:
    """Settings of the batcher, checked when they are made. Sizes are along dimension 0 of the inputs.

    Attributes:
        max_batch_size: most a request, and without splitting a batch, may hold.
        batch_timeout_micros: how long a task waits for company, in microseconds; 0 takes what is there.
        max_enqueued_batches: of each queue; a batch under way is not counted. Never 0: TensorFlow takes it as 1.
        num_batch_threads: batches that run at a time, of all models together.
        thread_pool_name: label of the queuing latency.
        allowed_batch_sizes: sizes that batches are padded up to; empty lets every size run as it is.
        pad_variable_length_inputs: pad the other dimensions where tasks differ in them, instead of refusing.
        enable_large_batch_splitting: cut requests that do not fit what is left of a batch.
        max_execution_batch_size: of a batch, where requests are split; None means max_batch_size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=cpus.schedulable)
    thread_pool_name: str = THREAD_POOL_NAME
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            StatusError: INVALID_ARGUMENT, with TensorFlow's text where it has one.
        """
        self._check_numbers()
        self._check_sizes()
        if self.max_enqueued_batches == 0:
            object.__setattr__(self, "max_enqueued_batches", 1)

    @property
    def execution_batch_size(self) -> int:
        """The most that one batch may hold."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def _check_numbers(self) -> None:
        if self.max_batch_size < 1:
            raise _invalid(f"max_batch_size must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise _invalid(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        lowest = 1 if self.enable_large_batch_splitting else 0
        if self.max_enqueued_batches < lowest:
            kind = "positive" if lowest else "non-negative"
            raise _invalid(f"max_enqueued_batches must be {kind}; was {self.max_enqueued_batches}")
        if self.num_batch_threads < 1:
            raise _invalid(f"num_batch_threads must be positive; was {self.num_batch_threads}")
        if self.max_execution_batch_size is not None and self.max_execution_batch_size < 1:
            raise _invalid(f"max_execution_batch_size must be positive; was {self.max_execution_batch_size}")
        if self.execution_batch_size > self.max_batch_size:
            raise _invalid(
                "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to "
                f"max_execution_batch_size; was {self.max_batch_size} against {self.max_execution_batch_size}"
            )

    def _check_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[0] < 1 or any(after <= before for before, after in itertools.pairwise(sizes)):
            raise _invalid("allowed_batch_sizes entries must be positive and monotonically increasing")
        if sizes[-1] != self.max_batch_size:
            raise _invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.max_batch_size}"
            )


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
