"""A second task: will the rider tip more than a fifth of the fare? Chicago taxi trips, from TFX's own examples."""
