"""Pictures of several window lengths: the numbers behind them, the words on them, and when there are none."""

import json

import matplotlib.image
import numpy as np
import pytest

from tests.training.report.records import report_words, words_of_figures
from tests.training.report.toy_scales import pixels_of, with_stages
from training.data.dataset import save_npz
from training.data.domains import draw_domains
from training.data.stripes import draw_stripes
from training.errors import InputError
from training.report.canvas import drawing
from training.report.graphs import LatentGraphs
from training.report.manifold import decoded_manifold
from training.report.scale_graphs import Frame, ScaleGraphs, content_of, stage_windows
from training.report.scale_maps import principal_maps
from training.report.scale_numbers import scale_numbers
from training.report.scale_patches import last_stage_descriptors, resamples
from training.report.scale_report import draw_scales
from training.report.scale_spectrum import differing_points, spectrum_at
from training.report.scale_stages import alignment_of, compared, grid_over, stages_over
from training.report.scale_statistics import most_used
from training.scales.statistics.correlation import correlation_length

ALL = {"scale_maps.png", "scale_statistics.png", "scale_alignment.png", "scale_spectrum.png"}
LENGTHS = (8.0, 16.0, 24.0)


def drawn_frame(side=60, pixel_size_nm=None):
    rng = np.random.default_rng(0)
    rows = 2 * np.pi * np.fft.fftfreq(side)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * np.exp(-2 * (rows[:, None] ** 2 + rows[None, :] ** 2))).real
    return Frame((field / field.std()).astype(np.float32), "a frame", pixel_size_nm)


@pytest.fixture
def graphs(bundle):
    return LatentGraphs(with_stages(bundle("scan.h5"), LENGTHS))


def test_each_window_is_answered_by_its_stage_at_its_own_place(graphs):
    frame = drawn_frame()
    scales = ScaleGraphs(graphs, frame)
    grid = grid_over(frame.values.shape, 16.0, 30)
    found = scales.encode(1, grid.centres_px, 16.0)
    a, b = pixels_of(frame.values, grid.centres_px, 16.0)
    assert found["content"] == pytest.approx(2 * np.stack([b, a], axis=1), rel=1e-6)
    assert scales.explain(1, grid.centres_px, 16.0) == pytest.approx(np.full(len(a), 0.84))


def test_a_window_that_touches_a_pixel_without_a_value_is_told_as_nan_and_no_other(graphs):
    frame = drawn_frame()
    frame.values[30, 20] = np.nan
    scales = ScaleGraphs(graphs, frame)
    centres = np.array([[30.0, 20.0], [26.0, 20.0], [35.0, 20.0], [27.0, 24.0], [30.5, 25.0]])  # windows of 8 px
    assert np.isnan(scales.encode(0, centres, 8.0)["content"]).any(axis=1).tolist() == [True, False, False, True, False]
    assert np.isnan(scales.explain(0, centres, 8.0)).tolist() == [True, False, False, True, False]


def test_a_grids_windows_lie_in_the_frame_and_reach_its_first_corner():
    grid = grid_over((100, 260), 17.5, 40)
    assert (grid.centres_px.min(axis=0) == 8.75).all()
    assert (grid.centres_px.max(axis=0) <= [100 - 8.75 + 1e-6, 260 - 8.75 + 1e-6]).all()
    assert grid.rows == 40
    assert grid.rows * grid.columns == len(grid.centres_px)
    assert grid.stride_px == pytest.approx(82.5 / 39)
    assert grid_over((20, 20), 16.0, 40).stride_px == 1.0
    assert grid_over((16, 16), 16.0, 40).centres_px.tolist() == [[8, 8]]
    left, right, bottom, top = grid.extent()
    assert (left, top) == pytest.approx((8.75 - grid.stride_px / 2,) * 2)
    assert right - left == pytest.approx(grid.columns * grid.stride_px)
    assert bottom - top == pytest.approx(grid.rows * grid.stride_px)


def test_lengths_are_physical_where_the_pixel_size_is_known(bundle):
    both = LatentGraphs(with_stages(bundle("scan.h5"), (8.0, 16.0), (40.0, 100.0)))
    assert stage_windows(both, drawn_frame(pixel_size_nm=4.0)) == (10, 25)
    assert stage_windows(both, drawn_frame()) == (8, 16)
    physical = LatentGraphs(with_stages(bundle("scan.h5"), None, (40.0, 100.0)))
    for frame, reason in ((drawn_frame(), "PIXEL_SIZE_REQUIRED"), (drawn_frame(pixel_size_nm=1.0), "IMAGES_TOO_SMALL")):
        with pytest.raises(InputError) as caught:
            ScaleGraphs(physical, frame)
        assert caught.value.reason == reason
    with pytest.raises(InputError) as caught:
        stage_windows(LatentGraphs(bundle("scan.h5")), drawn_frame())
    assert caught.value.reason == "UNSUPPORTED_BUNDLE"


def test_a_stages_statistics_are_those_of_its_map(graphs):
    frame = drawn_frame()
    stage = stages_over(ScaleGraphs(graphs, frame))[1]
    a, b = pixels_of(frame.values, stage.grid.centres_px, 16.0)
    assert stage.units.variance == pytest.approx([4 * b.var(), 4 * a.var()], rel=1e-5)
    assert stage.units.uncertainty == pytest.approx([0.25, 0.25])
    expected = [correlation_length(stage.grid.laid(pixel), 44 / 39).length_px for pixel in (b, a)]  # 40 centres over 60 − 16 px
    assert stage.length_px == pytest.approx(expected, rel=1e-6)
    assert stage.explained == pytest.approx(np.full(len(a), 0.84))


def test_stages_are_compared_on_the_same_centres_and_a_common_pixel_is_found_whatever_its_place(graphs):
    scales = ScaleGraphs(graphs, drawn_frame())
    centres, found = compared(scales)
    assert [len(each) for each in found] == [len(centres)] * 3
    assert found[1][:, 1] == pytest.approx(2 * found[0][:, 0], rel=1e-5)  # pixel a, doubled and in the other column
    assert centres.min() == 12
    holed = drawn_frame()
    holed.values[30, 20] = np.nan
    fewer, known = compared(ScaleGraphs(graphs, holed))
    assert len(fewer) < len(centres)
    assert all(np.isfinite(each).all() for each in known)
    assert (np.abs(fewer - [30.5, 20.5]).max(axis=1) > 12).all()


def test_a_spectrum_goes_over_to_the_stage_nearest_in_log_length(graphs):
    frame = drawn_frame()
    scales = ScaleGraphs(graphs, frame)
    points = np.array([[20.0, 20.0], [33.0, 41.0]])
    found = spectrum_at(scales, points)
    assert found.windows_px[[0, -1]] == pytest.approx([8, 24])
    assert np.diff(np.log(found.windows_px)) == pytest.approx(np.full(15, np.log(3) / 15))
    expected = [0 if w < np.sqrt(8 * 16) else 1 if w < np.sqrt(16 * 24) else 2 for w in found.windows_px]
    assert found.stage.tolist() == expected
    assert found.explained == pytest.approx(1 - found.windows_px[:, None] / 100 * np.ones(2), abs=1e-6)
    a, _ = pixels_of(frame.values, points, 8.0)
    assert found.latents[0, :, 0] == pytest.approx(a, rel=1e-6)
    assert found.latents[-1, :, 0] == pytest.approx(3 * a, rel=1e-6)


def test_the_points_of_a_spectrum_differ_and_allow_the_longest_window(graphs):
    frame = drawn_frame()
    points = differing_points(ScaleGraphs(graphs, frame))
    assert points.shape == (5, 2)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(5, 1)]
    assert apart.min() >= 6
    assert (points >= 12).all()
    assert (points <= 48).all()
    values = frame.values[tuple(np.floor(points).astype(int).T)]
    assert np.ptp(values) > 2 * frame.values.std()
    frame.values[30, :] = 40.0  # a line that is like nothing else: no point is taken for it
    points = differing_points(ScaleGraphs(graphs, frame))
    assert (frame.values[tuple(np.floor(points).astype(int).T)] < 40).all()


def test_principal_maps_are_ordered_signed_and_blind_to_how_latents_are_turned():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 4)) * [3.0, 2.0, 1.0, 0.1]
    z[3] = np.nan
    scores, shares = principal_maps(z)
    known = np.delete(np.arange(500), 3)
    assert np.isnan(scores[3]).all()
    assert shares == pytest.approx(np.array([9, 4, 1]) / 14.01, abs=0.06)
    assert abs(np.corrcoef(scores[known, 0], z[known, 0])[0, 1]) > 0.99
    assert np.corrcoef(scores[known, 0], z[known, 0])[0, 1] > 0  # the largest loading is positive
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    assert np.abs(principal_maps(z @ q)[0][known]) == pytest.approx(np.abs(scores[known]), abs=1e-9)
    one, share = principal_maps(z[:, :1])
    assert share.tolist() == [1, 0, 0]
    assert (one[known, 1:] == 0).all()


def test_latents_on_a_circle_are_compared_as_points():
    encoded = {"content": np.array([[0.5, np.pi / 2], [0.1, np.pi]]), "latent_mean": np.zeros((2, 5))}
    assert content_of(encoded, (1,)) == pytest.approx(np.array([[0.5, 0, 1], [0.1, -1, 0]]))
    assert content_of(encoded) is not encoded["latent_mean"]
    assert content_of({"latent_mean": np.ones((2, 3))}, (0,)) == pytest.approx(np.ones((2, 3)))


def test_only_as_many_latents_are_drawn_as_there_are_colours():
    variance = np.stack([np.arange(10.0), np.zeros(10)])
    variance[1, 0] = 50
    assert most_used(variance) == [0, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("standardised", [False, True])
def test_what_the_last_stage_takes_is_resampled_from_the_frame(bundle, standardised):
    graphs = LatentGraphs(with_stages(bundle("scan.h5"), (8.0, 32.0), standardised=standardised))
    frame = Frame(5 + 3 * drawn_frame().values, "a frame")
    frame.values[0, 0] = np.nan
    found = last_stage_descriptors(graphs, frame)
    assert found.shape[1:] == (16, 16)
    assert np.isfinite(found).all()
    assert len(found) == 24 * 24 - 1  # but the one at the corner
    values = np.float64(frame.values)
    expected = values[28:, 28:][:32, :32].reshape(16, 2, 16, 2).mean(axis=(1, 3))
    expected = (expected - np.nanmean(values)) / np.nanstd(values) if standardised else expected
    assert found[-1] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_plain_patches_are_cut_as_before(bundle):
    folder = bundle("scan.h5")
    assert not resamples(LatentGraphs(folder))
    assert not resamples(LatentGraphs(with_stages(folder, (16.0,))))
    assert resamples(LatentGraphs(with_stages(folder, (20.0,))))
    assert resamples(LatentGraphs(with_stages(folder, (16.0,), standardised=True)))


def test_the_numbers_behind_the_pictures_are_those_of_the_stages(graphs):
    scales = ScaleGraphs(graphs, drawn_frame(pixel_size_nm=2.0))
    stages, alignment = stages_over(scales), alignment_of(scales)
    found = scale_numbers(scales, stages, alignment)
    assert found["model"] == {"name": "hand-made", "version": 2, "digest": graphs.manifest.digest}
    assert found["frame"] == {"name": "a frame", "height_px": 60, "width_px": 60, "pixel_size_nm": 2.0}
    assert [(each["window_px"], each["window_nm"], each["active_units"]) for each in found["stages"]] == [(8, 16, 2), (16, 32, 2), (24, 48, 2)]
    told = found["stages"][1]
    assert told["windows"] == len(stages[1].explained)
    assert told["explained_fraction"] == pytest.approx({"quartile_1": 0.84, "median": 0.84, "quartile_3": 0.84})
    for index, each in enumerate(told["latents"]):
        assert each == {
            "name": f"content {index + 1}",
            "variance": pytest.approx(stages[1].units.variance[index]),
            "uncertainty": pytest.approx(0.25),
            "kl_nats": pytest.approx(stages[1].units.divergence_nats[index]),
            "active": True,
            "correlation_length_px": pytest.approx(stages[1].length_px[index]),
            "correlation_length_nm": pytest.approx(2 * stages[1].length_px[index]),
        }
    assert [each["stages"] for each in found["neighbours"]] == [[1, 2], [2, 3]]
    for number, each in enumerate(found["neighbours"]):
        assert each["canonical_correlation"] == pytest.approx(alignment[0][number, number + 1])
        assert each["procrustes_residual"] == pytest.approx(alignment[1][number, number + 1])


def test_numbers_that_are_not_known_or_would_be_chance_are_null(tmp_path, graphs):
    frame = Frame(0.03 * drawn_frame().values, "nearly constant")  # a length could be found, but no unit is active
    frame.values[:20, :20] = np.nan
    with words_of_figures():
        draw_scales(graphs, frame, tmp_path)
    found = json.loads((tmp_path / "scales.json").read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found["frame"]["pixel_size_nm"] is None
    for stage in found["stages"]:
        assert stage["window_nm"] is None
        assert stage["active_units"] == 0
        assert 0 < stage["windows"] < 1600
        assert stage["explained_fraction"]["median"] == pytest.approx(1 - stage["window_px"] / 100)
        for latent in stage["latents"]:
            assert (latent["active"], latent["correlation_length_px"], latent["correlation_length_nm"]) == (False, None, None)
    assert [each["canonical_correlation"] for each in found["neighbours"]] == [None, None]


def test_one_stage_has_its_numbers_and_no_neighbours_though_its_window_be_the_frame(tmp_path, bundle):
    graphs = LatentGraphs(with_stages(bundle("scan.h5"), (16.0,)))
    with words_of_figures():
        draw_scales(graphs, Frame(drawn_frame().values[:16, :16], "as long as the window"), tmp_path)
    found = json.loads((tmp_path / "scales.json").read_text(encoding="utf-8"))
    assert [stage["windows"] for stage in found["stages"]] == [1]
    assert found["neighbours"] == []


def test_every_stages_manifold_is_drawn_by_its_own_decoder_without_any_data(tmp_path, bundle, capsys):
    folder = with_stages(bundle("scan.h5"), None, (40.0, 80.0, 160.0), decoders=True)
    graphs = LatentGraphs(folder)
    for stage in (1, 2):
        assert (decoded_manifold(graphs, stage=stage)[0] == stage).all()
    assert np.ptp(decoded_manifold(graphs)[0]) > 1
    words = report_words(folder, tmp_path / "out")
    for window in (40, 80, 160):
        assert f"window {window} nm" in words["scale_manifolds.png"]
    told = capsys.readouterr().out
    assert "scale_manifolds.png is of all stages" in told
    assert "no decoder" not in told


def test_without_decoders_of_all_stages_there_is_no_picture_of_them(tmp_path, bundle):
    assert "scale_manifolds.png" not in report_words(with_stages(bundle("scan.h5"), LENGTHS), tmp_path / "several")
    assert "scale_manifolds.png" not in report_words(bundle("scan.h5"), tmp_path / "none")


def test_several_stages_are_drawn_over_a_frame_and_say_their_lengths(tmp_path, bundle, capsys):
    data = draw_domains(64)
    np.savez(tmp_path / "scan.npz", images=data.arrays["images"] * 1e10, unit=np.array("1"), pixel_size_nm=np.array(5.0))
    folder = with_stages(bundle("scan.h5"), None, (40.0, 80.0, 160.0))
    words = report_words(folder, tmp_path / "out", "--data", str(tmp_path / "scan.npz"))
    assert set(words) >= ALL
    assert "maps.png" not in words  # its patches would be of another length
    assert "windows of 40 nm, 80 nm, 160 nm" in words["scale_maps.png"]
    assert "window length (nm)" in words["scale_statistics.png"]
    assert "active units, of 2" in words["scale_statistics.png"]
    assert "mean posterior variance $A_j$ (prior: 1)" in words["scale_statistics.png"]
    assert (tmp_path / "out" / "scales.json").exists()
    assert "1.00" in words["scale_alignment.png"]
    assert "content latent 2" in words["scale_spectrum.png"]
    assert "no decoder of the others" in capsys.readouterr().out


def test_one_stage_has_its_map_over_a_given_frame_alone(tmp_path, bundle):
    save_npz(tmp_path / "scan.npz", draw_domains(64))
    folder = with_stages(bundle("draw_domains(side=64, seed=0, period_px=(10, 18), damaged_spots=1)", unit="m"), (16.0,))
    given = report_words(folder, tmp_path / "given", "--data", str(tmp_path / "scan.npz"))
    assert "scale_maps.png" in given
    assert "a window of 125 nm" in given["scale_maps.png"]
    assert "maps.png" in given
    assert not set(given) & ALL - {"scale_maps.png"}
    assert not set(report_words(folder, tmp_path / "fresh")) & ALL


def test_stages_of_drawn_stripes_are_drawn_over_fresh_ones(tmp_path, bundle):
    source = draw_stripes(2, side=64, period_px=12, seed=1).source
    words = report_words(with_stages(bundle(source), (8.0, 16.0), standardised=True), tmp_path / "out")
    assert set(words) >= ALL
    assert "freshly drawn stripes (seed 2)" in words["scale_maps.png"]  # not those of training, whose seed is the report's


def test_without_a_frame_it_is_told_what_would_bring_the_pictures(tmp_path, bundle, capsys):
    folder = with_stages(bundle("scan.h5"), (8.0, 16.0))
    assert not set(report_words(folder, tmp_path / "out")) & ALL
    assert "give one with --data FILE" in capsys.readouterr().out


def test_a_standardised_bundle_takes_a_scan_of_any_unit(tmp_path, bundle):
    save_npz(tmp_path / "scan.npz", draw_domains(64))
    folder = with_stages(bundle("scan.h5", unit="1"), (8.0, 16.0), standardised=True)
    assert set(report_words(folder, tmp_path / "out", "--data", str(tmp_path / "scan.npz"))) >= ALL
    with pytest.raises(InputError) as caught:
        report_words(with_stages(bundle("scan.h5", unit="1"), (8.0, 16.0)), tmp_path / "out", "--data", str(tmp_path / "scan.npz"))
    assert caught.value.reason == "UNITS_DIFFER"


@pytest.mark.slow
def test_the_pictures_are_pictures(tmp_path, graphs):
    with drawing():
        paths = draw_scales(graphs, drawn_frame(pixel_size_nm=2.0), tmp_path)
    assert {path.name for path in paths} == {*ALL, "scales.json"}
    for path in (path for path in paths if path.suffix == ".png"):
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.02
