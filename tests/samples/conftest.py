"""The samples, deployed as they are: read from TULE_SAMPLES, which continuous integration sets."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from samples_cloud import Cloud

import function_packages


@pytest.fixture(scope="session")
def samples():
    """The folder of the samples."""
    folder = Path(os.environ.get("TULE_SAMPLES", ""))
    if not (folder / "manifest.json").is_file():
        pytest.skip("the samples are not here: set TULE_SAMPLES to their folder")
    return folder


@pytest.fixture(scope="session")
def stripped(samples, tmp_path_factory):
    """The samples in TypeScript without their types, by the samples' own build."""
    project = function_packages.node_project()
    place = tmp_path_factory.mktemp("samples")
    shutil.copytree(samples, place / "samples")
    (place / "node_modules").symlink_to(project / "node_modules")
    subprocess.run(["node", "samples/harness/build.mjs", place / "built"], cwd=place, check=True)
    return place / "built"


@pytest.fixture
def cloud(tule, fresh_account, samples, stripped):
    return Cloud(tule, fresh_account, samples, stripped)
