"""The REST port: TF Serving's paths, JSON and texts over an HTTP/1.1 protocol of our own."""
