"""Many spans' Examples as one: what a run trains on and what it is judged by."""
