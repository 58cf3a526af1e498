"""The walk of a version from canary to stable, or back out: states, analysis, controller, writer of models.config."""
