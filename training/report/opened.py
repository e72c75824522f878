"""A bundle's folder, found and verified, for whatever is drawn of it."""

from __future__ import annotations

from pathlib import Path

from dichroic.bundle import Bundle, read_bundle, versions_in
from dichroic.errors import BundleRefusedError
from training.errors import InputError


def opened(folder: Path) -> Bundle:
    """The bundle in `<name>/<version>/`.

    Raises:
        InputError: BUNDLE_REFUSED.
    """
    try:
        return read_bundle(folder)
    except BundleRefusedError as error:
        raise InputError("BUNDLE_REFUSED", error.message) from error


def version_folder(folder: Path) -> Path:
    """`<name>/<version>/` itself, or the highest version of `<name>/`.

    Raises:
        InputError: FILE_NOT_FOUND, BUNDLE_REFUSED: neither.
    """
    if not folder.is_dir():
        raise InputError("FILE_NOT_FOUND", f"There is no folder {folder}; give BUNDLES/NAME/VERSION, or BUNDLES/NAME for its newest version.")
    if (folder / "bundle.json").exists():
        return folder
    versions = versions_in(folder)
    if not versions:
        raise InputError("BUNDLE_REFUSED", f"{folder} holds neither a bundle nor versions of one; give BUNDLES/NAME or BUNDLES/NAME/VERSION.")
    return folder / str(versions[-1])
