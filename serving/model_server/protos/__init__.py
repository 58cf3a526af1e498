"""The configuration messages of TF Serving that the tensorflow-serving-api wheel leaves out.

Packages, field names and numbers are TF Serving's. The *_pb2.py and *_pb2.pyi files are generated:
`python -m tests.serving.model_server.generate_protos`.
"""
