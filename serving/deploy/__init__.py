"""The traffic plan for proxies and clusters that are not the house's own: nginx, Envoy, Kubernetes' Gateway API."""
