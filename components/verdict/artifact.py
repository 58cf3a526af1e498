"""The verdict's own artifact type."""

from tfx.types.artifact import Artifact


class ModelVerdict(Artifact):
    """`verdict.json` with every number; custom properties `blessed` (1 or 0) and `verdict`.

    Not a ModelBlessing: that one makes a model the baseline of later candidates, which only a push may do. A model that
    was blessed and not yet pushed when its run was killed would else be compared with itself.
    """

    TYPE_NAME = "components.ModelVerdict"  # where Kubeflow's runner imports it from
