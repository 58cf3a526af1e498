"""`make demo-rollout`: the whole of a rollout on one machine, with real parts and simulated users."""
