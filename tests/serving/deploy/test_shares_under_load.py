"""A share that changes while users ask without a pause: nobody's request fails, and users move one way only."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from serving.deploy.options import Options
from serving.gateway.assignment import in_canary
from tests.serving.deploy.load import Ask, load, over_grpc, over_rest
from tests.serving.deploy.proxies import Proxy, alone, clicks, proxy
from tests.serving.model_server.conformance.process import free_port

USERS = [f"user-{number}" for number in range(60)]
WAYS = {"rest": over_rest, "grpc": over_grpc}


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def running(
    request: pytest.FixtureRequest, two_servers: Options, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    options = replace(two_servers, rest=f"127.0.0.1:{free_port()}", grpc=f"127.0.0.1:{free_port()}")
    with proxy(request.param, options, tmp_path_factory.mktemp(request.param), alone(), workers=2) as made:
        yield made


@pytest.mark.parametrize("protocol", WAYS)
def test_a_share_that_rises_and_falls_moves_users_one_way_and_fails_no_request(running: Proxy, protocol: str) -> None:
    running.follow(clicks(0.0))

    def connect() -> AbstractContextManager[Ask]:
        return WAYS[protocol](running.options.rest if protocol == "rest" else running.options.grpc)

    with load(USERS, 3, connect) as asking:
        met = asking.settle()
        for share, kept in ((0.1, "canary"), (0.6, "canary"), (1.0, "canary"), (0.4, "stable"), (0.0, "stable")):
            before, began = met, {user: len(asking.met[user]) for user in USERS}
            running.follow(clicks(share))
            met = asking.settle()
            canaries = {user for user in USERS if met[user] == "canary"}
            assert all(met[user] == kept for user in USERS if before[user] == kept), share
            if running.kind == "nginx":
                assert canaries == {user for user in USERS if in_canary(b"clicks/4", user.encode(), share)}
                # One connection leaves the old worker for a new one once, so each user changes sides once at most.
                seen = [asking.met[user][began[user] :] for user in USERS]
                assert all(one == sorted(one, key=lambda variant: variant == kept) for one in seen)
        assert canaries == set()
        running.follow(alone())
        asking.settle()
        asked = sum(map(len, asking.met.values()))
    assert asked > 500
