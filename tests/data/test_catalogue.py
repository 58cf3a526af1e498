import pytest

from data.catalogue import Package, find
from data.errors import InputError


def test_an_unknown_source_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"no source 'clikcs'.*did you mean clicks\?"):
        find("clikcs")


def test_a_name_that_is_near_to_nothing_is_answered_with_the_list() -> None:
    with pytest.raises(InputError, match=r"It holds: .*clicks"):
        find("zzzz")


@pytest.mark.parametrize("digest", ["", "9c99482", "9C" * 32])
def test_a_package_without_a_full_digest_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        Package("pypi", "recbole", "1.2.1", "recbole.whl", digest)


@pytest.mark.parametrize("filename", ["../recbole.whl", ".hidden.whl"])
def test_a_package_file_cannot_leave_the_cache(filename: str) -> None:
    with pytest.raises(ValueError, match="plain, visible file name"):
        Package("pypi", "recbole", "1.2.1", filename, "0" * 64)
