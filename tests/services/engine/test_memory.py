"""What a process still holds after runs on large arrays: the most that one run needed, not the sum over all graphs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GRAPHS, FRAME_MIB = 6, 64
# In a process of its own: what other tests have left in the arena would hide what is looked for.
SCRIPT = f"""
import sys
import numpy as np
from onnx import TensorProto, helper
from dichroic.bundle import Signature, TensorSpec
from services.engine.device import ChosenDevice
from services.engine.graph import open_session

WIDTH = {FRAME_MIB} << 18

def resident_mib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024

sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *row]) for name, row in (("x", [WIDTH]), ("y", []))]
nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Sin", ["e"], ["s"])]
nodes += [helper.make_node("ReduceSum", ["s", "axis"], ["y"], keepdims=0)]
axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
graph = helper.make_graph(nodes, "sum", sides[:1], sides[1:], [axis])
data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
told = dict(dtype="float32", unit="1", meaning="a value")
given = TensorSpec(name="x", shape=("n", WIDTH), axes=("row", "value"), **told)
signature = Signature(graph="sum.onnx", inputs=(given,), outputs=(TensorSpec(name="y", shape=("n",), axes=("row",), **told),), max_batch=1)
sessions = [open_session("sum", data, signature, {{}}, ChosenDevice("cpu", False, 1)) for _ in range({GRAPHS})]
frame = np.ones((1, WIDTH), np.float32)
for session in sessions:
    session.run(None, {{"x": frame}})
    print(resident_mib())
"""


def test_graphs_that_ran_on_large_arrays_do_not_each_keep_what_that_took() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *_, last = (float(line) for line in done.stdout.split())
    assert last - first < 1.5 * FRAME_MIB  # of their own, at least FRAME_MIB for each of the others
