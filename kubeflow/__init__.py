"""How the same graph is scheduled on Kubeflow Pipelines."""
