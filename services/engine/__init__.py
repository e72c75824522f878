"""Bundles to running graphs: repository, ONNX sessions, micro-batcher. Knows nothing of gRPC, HTTP or what the rooms' arrays mean."""
