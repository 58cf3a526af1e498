"""`python -m pipeline run tests.e2e.taxi.task --data DIR`."""

from pathlib import Path

from pipeline.task import Gate, Hyperparameters, Task

TASK = Task(
    name="taxi",
    question="Will the rider tip more than a fifth of the fare?",
    label="big_tip",
    split_by="trip",
    gates=(Gate("auc", at_least=0.85), Gate("log_loss", at_most=0.5)),
    slice_by=(("payment_type",),),
    preprocessing_fn="tests.e2e.taxi.preprocessing.preprocessing_fn",
    build_model="tests.e2e.taxi.model.build_model",
    schema_path=Path(__file__).with_name("schema.pbtxt"),
    hyperparameters=Hyperparameters(batch_size=128, epochs=3, learning_rate=5e-3),
)
