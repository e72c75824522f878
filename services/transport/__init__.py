"""gRPC and HTTP adapters: translate, call the room, translate. One error map, one set of metrics, for both."""
