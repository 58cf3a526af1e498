"""What the stored contract says about TensorFlow Serving, asked of a running server over its own ports.

MODEL_SERVER names the command to ask, e.g. `tensorflow_model_server`; without it the house's own server is started.
"""
