"""Labels: names for versions, replaced as a whole by each configuration that is accepted."""

from collections.abc import Callable, Mapping

from serving.status import Code, StatusError

LabelMap = Mapping[str, Mapping[str, int]]  # model -> label -> version


def checked(
    wanted: LabelMap, current: LabelMap, available: Callable[[str, int], bool], allow_unavailable: bool
) -> LabelMap:
    """The map that takes the place of `current`.

    Labels are looked at before the versions of the same configuration are loaded, so a version and its label need two
    reloads; and at the start nothing is loaded, so labels there need `allow_unavailable`.

    Args:
        wanted: labels of all configured models.
        current: the map in force; empty before the first configuration.
        available: whether a version of a model is AVAILABLE.
        allow_unavailable: whether a label that is new, or stays where it is, may name a version that is not.

    Raises:
        StatusError: FAILED_PRECONDITION if a label may not name its version; nothing is replaced then.
    """
    for name, labels in wanted.items():
        for label, version in sorted(labels.items()):
            stays_or_new = current.get(name, {}).get(label, version) == version
            if not (allow_unavailable and stays_or_new) and not available(name, version):
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {name}, "
                    f"which is not currently available for inference",
                )
    return {name: dict(labels) for name, labels in wanted.items() if labels}


def version_of(labels: LabelMap | None, name: str, label: str) -> int:
    """The version that a label of a model stands for, loaded or not.

    Args:
        labels: None before the first configuration.

    Raises:
        StatusError: UNAVAILABLE before the first configuration; INVALID_ARGUMENT for a label, or a model, unknown.
    """
    if labels is None:
        raise StatusError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
    try:
        return labels[name][label]
    except KeyError:
        raise StatusError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}") from None
