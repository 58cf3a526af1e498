"""All that lives beside traffic; needs TensorFlow, gRPC and HTTP, and imports nothing of the line."""
