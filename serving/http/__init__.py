"""HTTP/1.1 on the event loop, for the model server, the gateway and the rollout's status page."""
