"""Serving: bundles in, answers out. No torch, no gpytorch, ever."""

import os

# ONNX Runtime's builds report their use to their maker unless told not to before they are imported; child processes inherit this.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
