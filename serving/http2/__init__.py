"""gRPC over HTTP/2 on asyncio, for the gateway: both sides of unary calls, whose messages stay bytes."""
