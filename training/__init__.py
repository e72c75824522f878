"""Offline: models are trained here, measured on data they never saw, and written as bundles. `python -m training --help`."""

import os

# ONNX Runtime's builds report their use to their maker unless told not to before they are imported; child processes inherit this.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
