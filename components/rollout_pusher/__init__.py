"""Makes a judged and checked model the next version of the model directory, with warm-up requests and its lineage."""

WARMUP_FILE = "tf_serving_warmup_requests"  # the name that TF Serving looks for in assets.extra
