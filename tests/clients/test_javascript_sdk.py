"""The AWS SDK for JavaScript v3, unmodified, told nothing but endpoint, keys and region."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from installed import once

HERE = Path(__file__).parent / "javascript"


@pytest.fixture(scope="session")
def project():
    """The clients' packages, installed once for a lock file."""

    def npm_ci(folder):
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, folder / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)

    folder = once("javascript", (HERE / "package-lock.json").read_bytes(), npm_ci)
    shutil.copy(HERE / "clients.mjs", folder / "clients.mjs")
    return folder


def test_what_applications_do_with_the_sdk(tule, project, fresh_account):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(project),
        "AWS_ENDPOINT_URL": tule.url,
        "AWS_ACCESS_KEY_ID": fresh_account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    done = subprocess.run(
        ["node", "clients.mjs"], cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("ok ")] == [], done.stderr
    assert len(lines) == 7, done.stderr
