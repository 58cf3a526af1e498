"""A model server for laptops and CI that speaks TensorFlow Serving's contract: flags, gRPC, REST, versions, metrics."""
