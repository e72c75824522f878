"""Versions, atomic reload, unloading, watching the folder."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import LatentSection, MechanismSection, TransitionSection
from dichroic.bundle.files import WEIGHTS_NAME
from dichroic.errors import BundleRefusedError, ModelNotReadyError, UnknownModelError, UnknownVersionError, UnsupportedCapabilityError
from services.engine.budget import QueueBudget
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from services.engine.repository import Repository, State
from services.engine.watcher import FolderWatcher
from tests.services.engine.conftest import Recorder
from tests.toy_bundle import Toy, write_toy

IMAGES = np.random.default_rng(3).random((2, 8, 8)).astype(np.float32)


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    write_toy(tmp_path, Toy(seed=1))
    return tmp_path


@pytest.fixture
def repository(bundles: Path, recorder: Recorder) -> Repository:
    return Repository(bundles, Loader(ChosenDevice("cpu", False, 1), 16), QueueBudget(100, 1 << 24), recorder)


async def first_latent(repository: Repository, version: int = 0) -> float:
    with repository.lease("toy", version) as model:
        outputs = await model.run("encode.float32", {"images": IMAGES}, asyncio.get_running_loop().time() + 30)
        return float(outputs["latent_mean"][0, 0])


def expected(seed: int) -> float:
    return float(Toy(seed=seed).latent_mean(IMAGES)[0, 0])


def break_bundle(folder: Path) -> None:
    (folder / WEIGHTS_NAME).write_bytes(b"broken")
    (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes() + b"\n")  # seen as changed


async def test_the_highest_version_that_serves_is_the_default(repository: Repository, bundles: Path) -> None:
    write_toy(bundles, Toy(seed=2))
    await FolderWatcher(repository).look()
    assert await first_latent(repository) == pytest.approx(expected(2), abs=1e-6)
    assert await first_latent(repository, 1) == pytest.approx(expected(1), abs=1e-6)
    await repository.unload("toy", 2)
    assert await first_latent(repository) == pytest.approx(expected(1), abs=1e-6)


async def test_a_lease_for_a_capability_tells_its_section_or_refuses_the_kind(repository: Repository) -> None:
    await repository.load("toy", 1)
    with repository.lease_with(LatentSection, "toy", 0) as (model, section):
        assert section is model.manifest.latent
        assert model.users == 1
    for kind, name in ((MechanismSection, "mechanism"), (TransitionSection, "transition")):
        with (
            pytest.raises(UnsupportedCapabilityError, match=f"Model 'toy' is of kind 'latent'; this needs one of kind '{name}'") as caught,
            repository.lease_with(kind, "toy", 0),
        ):
            pass
        assert caught.value.field == "model_name"
        assert model.users == 0


async def test_a_refused_version_leaves_the_others_serving(repository: Repository, bundles: Path, recorder: Recorder) -> None:
    break_bundle(write_toy(bundles, Toy(seed=2)))
    await FolderWatcher(repository).look()
    assert await first_latent(repository) == pytest.approx(expected(1), abs=1e-6)
    states = {entry.version: (entry.state, entry.detail) for entry in repository.entries()}
    assert states[1][0] is State.READY
    assert states[2][0] is State.FAILED
    assert "files" in states[2][1]
    assert recorder.loads == ["ready", "files"]
    with pytest.raises(ModelNotReadyError) as refused:
        repository.find("toy", 2)
    assert refused.value.retry_delay_s is None


async def test_a_failed_reload_keeps_the_old_version(repository: Repository, bundles: Path) -> None:
    await repository.load("toy", 1)
    break_bundle(bundles / "toy" / "1")
    with pytest.raises(BundleRefusedError):
        await repository.load("toy", 1)
    assert await first_latent(repository) == pytest.approx(expected(1), abs=1e-6)
    (entry,) = repository.entries()
    assert entry.state is State.READY
    assert "WRONG_SIZE" in entry.detail


async def test_a_caller_keeps_its_model_while_another_is_swapped_in(repository: Repository, bundles: Path, tmp_path: Path) -> None:
    await repository.load("toy", 1)
    with repository.lease("toy", 1) as old:
        replacement = write_toy(tmp_path / "elsewhere", Toy(seed=5))
        shutil.rmtree(bundles / "toy" / "1")
        shutil.copytree(replacement, bundles / "toy" / "1")
        await repository.load("toy", 1)
        assert await first_latent(repository) == pytest.approx(expected(5), abs=1e-6)
        assert not old.idle.is_set()
        outputs = await old.run("encode.float32", {"images": IMAGES}, asyncio.get_running_loop().time() + 30)
        assert float(outputs["latent_mean"][0, 0]) == pytest.approx(expected(1), abs=1e-6)
    assert old.idle.is_set()


async def test_the_watcher_loads_what_is_new_reloads_what_changed_and_drops_what_is_gone(
    repository: Repository, bundles: Path, recorder: Recorder
) -> None:
    watcher = FolderWatcher(repository)
    await watcher.look()
    await watcher.look()
    assert recorder.loads == ["ready"]
    folder = write_toy(bundles, Toy(seed=2))
    await watcher.look()
    assert recorder.loads == ["ready", "ready"]
    (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes() + b"\n")
    await watcher.look()
    assert recorder.loads == ["ready", "ready", "ready"]
    shutil.rmtree(folder)
    await watcher.look()
    assert [entry.version for entry in repository.entries()] == [1]


async def test_a_refused_version_is_tried_again_only_after_it_changed(repository: Repository, bundles: Path, recorder: Recorder) -> None:
    break_bundle(bundles / "toy" / "1")
    watcher = FolderWatcher(repository)
    await watcher.look()
    await watcher.look()
    assert recorder.loads == ["files"]


async def test_a_half_written_bundle_is_never_seen(repository: Repository, bundles: Path) -> None:
    shutil.copytree(bundles / "toy" / "1", bundles / "toy" / ".writing-abc")
    await FolderWatcher(repository).look()
    assert [(entry.name, entry.version) for entry in repository.entries()] == [("toy", 1)]


async def test_what_an_administrator_unloads_stays_unloaded_until_loaded_again(repository: Repository, bundles: Path) -> None:
    watcher = FolderWatcher(repository)
    await watcher.look()
    await repository.unload("toy", 0)
    manifest = bundles / "toy" / "1" / "bundle.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    await watcher.look()
    with pytest.raises(ModelNotReadyError):
        repository.find("toy", 0)
    await repository.load("toy", 0)
    repository.find("toy", 0)


@pytest.mark.parametrize("name", ["nothing", "", ".", "..", "../toy", "toy/1", "/etc"])
async def test_an_unknown_or_hostile_name_is_not_found(repository: Repository, name: str) -> None:
    with pytest.raises(UnknownModelError):
        await repository.load(name, 0)
    with pytest.raises(UnknownModelError):
        repository.find(name, 0)


async def test_an_unknown_version_is_not_found(repository: Repository) -> None:
    await repository.load("toy", 0)
    with pytest.raises(UnknownVersionError, match="no version 7"):
        repository.find("toy", 7)
    with pytest.raises(UnknownVersionError):
        await repository.load("toy", 7)
    with pytest.raises(UnknownVersionError):
        await repository.unload("toy", 7)


async def test_draining_waits_for_work_of_a_model_that_was_unloaded(repository: Repository) -> None:
    await repository.load("toy", 1)
    with repository.lease("toy", 1):
        await repository.unload("toy", 1)
        draining = asyncio.create_task(repository.drain(30))
        await asyncio.sleep(0)
        assert not draining.done()
        with pytest.raises(TimeoutError):
            await repository.drain(0.01)
    await draining


async def test_a_caller_that_gives_up_does_not_leave_a_version_half_loaded(repository: Repository) -> None:
    loading = asyncio.create_task(repository.load("toy", 1))
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await repository.load("toy", 1)
    (entry,) = repository.entries()
    assert entry.state is State.READY


async def test_a_folder_that_goes_while_it_is_loaded_is_forgotten_afterwards(repository: Repository, bundles: Path) -> None:
    watcher = FolderWatcher(repository)
    await watcher.look()
    loading = asyncio.create_task(repository.load("toy", 1))
    await asyncio.sleep(0)
    shutil.rmtree(bundles / "toy")
    await asyncio.gather(watcher.look(), loading, return_exceptions=True)
    await watcher.look()
    assert repository.entries() == []


async def test_a_version_copied_file_by_file_is_tried_again_when_it_is_whole(repository: Repository, bundles: Path, recorder: Recorder) -> None:
    whole = bundles.parent / "whole"
    shutil.move(bundles / "toy" / "1", whole)
    (bundles / "toy" / "1").mkdir()
    watcher = FolderWatcher(repository)
    for path in sorted(whole.iterdir()):
        shutil.copy(path, bundles / "toy" / "1")
        await watcher.look()
    assert recorder.loads[-1] == "ready"
    assert set(recorder.loads[:-1]) <= {"manifest", "files"}


async def test_draining_waits_for_work_in_flight(repository: Repository) -> None:
    await repository.load("toy", 1)
    with repository.lease("toy", 1) as model:
        draining = asyncio.create_task(repository.drain(30))
        await asyncio.sleep(0)
        assert not draining.done()
        await model.run("encode.float32", {"images": IMAGES}, asyncio.get_running_loop().time() + 30)
    await draining
