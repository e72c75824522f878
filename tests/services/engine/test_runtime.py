import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dichroic.bundle import Signature
from dichroic.bundle.tensors import FixedSpec
from services.engine.batch import Segment, Work, joined, parted
from services.engine.runtime import Runtime, buckets_to, first_non_finite_row
from tests.services.engine.conftest import DOUBLING, DoublingSession


@given(st.integers(1, 3000))
def test_buckets_end_at_the_largest_and_waste_a_third_at_most(largest: int) -> None:
    buckets = buckets_to(largest)
    assert buckets[-1] == largest
    assert buckets == sorted(set(buckets))
    for rows in range(1, largest + 1):
        size = next(bucket for bucket in buckets if bucket >= rows)
        assert size - rows <= size / 3


@given(st.integers(1, 40), st.lists(st.integers(0, 39), max_size=3))
def test_the_first_bad_row_is_found(rows: int, bad: list[int]) -> None:
    values = np.ones((rows, 3), dtype=np.float32)
    bad = sorted(index for index in bad if index < rows)
    for place, index in enumerate(bad):
        values[index, 1] = (np.nan, np.inf, -np.inf)[place % 3]
    assert first_non_finite_row(values) == (bad[0] if bad else None)


def test_large_finite_values_are_not_taken_for_infinity() -> None:
    assert first_non_finite_row(np.full((4, 4), 3e38, dtype=np.float32)) is None


@pytest.mark.parametrize(("pad", "rows", "runs_at"), [(True, 5, 6), (True, 7, 8), (False, 5, 5)])
def test_rows_are_padded_only_where_asked(session: DoublingSession, pad: bool, rows: int, runs_at: int) -> None:
    runtime = Runtime("double", session, DOUBLING, max_batch=8, pad=pad)  # type: ignore[arg-type]
    values = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    work = Work({"x": values}, rows, 0, 0, None)  # type: ignore[arg-type]
    (result,) = runtime.run_segments([Segment(work, 0, rows)])
    assert len(session.ran[0]) == runs_at
    assert result.outputs is not None
    np.testing.assert_array_equal(result.outputs["y"], 2 * values)
    runtime.lane.shutdown()


@pytest.mark.parametrize(("pad", "most", "warm"), [(True, 4, [1, 2, 3, 4]), (False, 4, [1, 4]), (False, 4096, [1, 256])])
def test_a_cpu_is_not_warmed_up_with_every_size(session: DoublingSession, pad: bool, most: int, warm: list[int]) -> None:
    declared = DOUBLING.model_copy(update={"max_batch": most})
    runtime = Runtime("double", session, declared, max_batch=most, pad=pad)  # type: ignore[arg-type]
    assert runtime.warm_up_rows == warm
    runtime.lane.shutdown()


def test_a_run_on_a_frame_takes_more_rows_for_it_reads_the_frame_as_a_whole(session: DoublingSession) -> None:
    frame = FixedSpec(name="frame", dtype="uint8", shape=("H", "W"), source="request", meaning="the frame")
    for fixed, most in (((), 4), ((frame,), 64)):
        declared = Signature(graph="double.onnx", inputs=DOUBLING.inputs, outputs=DOUBLING.outputs, max_batch=4096, fixed=fixed)
        runtime = Runtime("double", session, declared, max_batch=4, pad=False)  # type: ignore[arg-type]
        assert runtime.max_batch == most
        runtime.lane.shutdown()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 4))
def test_what_is_joined_is_parted_again(sizes: list[int], padding: int) -> None:
    random = np.random.default_rng(0)
    works = [Work({"x": random.standard_normal((size, 2))}, size, 0, 0, None) for size in sizes]  # type: ignore[arg-type]
    segments = [Segment(work, 0, work.rows) for work in works]
    whole = joined(segments, sum(sizes) + padding)
    assert len(whole["x"]) == sum(sizes) + padding
    for work, part in zip(works, parted(segments, whole), strict=True):
        np.testing.assert_array_equal(part["x"], work.inputs["x"])
