"""The line: from raw spans to a judged model in TensorFlow Serving's model directory."""
