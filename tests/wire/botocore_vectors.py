"""botocore's protocol vectors, fetched once from its source distribution by version and hash."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tule.wire.models import OperationModel, ServiceModel

VERSION = "1.43.11"
SHA256 = "d7d479cc2809ec2728f2898521003adfb79bfe6a4615c59dfd222ec52b0cee6b"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "botocore-vectors"
INSIDE = f"botocore-{VERSION}/tests/unit/protocols/"


def folder() -> Path:
    """Where the vectors lie; downloads them the first time."""
    target = CACHE / VERSION
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        archive = CACHE / f"botocore-{VERSION}.tar.gz"
        if not archive.exists():
            download()
        unpacked = CACHE / f"{VERSION}.part"
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if member.name.startswith(INSIDE) and member.isfile()]
            tar.extractall(unpacked, members, filter="data")
        (unpacked / INSIDE).rename(target)
    return target


def download() -> None:
    requirements = CACHE / "requirements.txt"
    requirements.write_text(f"botocore=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--no-build-isolation",
    ]
    command += ["--require-hashes", "--dest", str(CACHE), "-r", str(requirements)]
    subprocess.run(command, check=True)


@dataclass(frozen=True)
class Vector:
    """One case with the service that it is about."""

    protocol: str
    case: dict[str, Any]
    document: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.protocol}-{self.case.get('id') or self.case['given']['name']}"

    @property
    def name(self) -> str:
        return self.case["given"]["name"]

    def service(self) -> ServiceModel:
        document = {**self.document, "operations": {self.name: self.case["given"]}}
        return ServiceModel("vectors", document)

    def operation(self) -> OperationModel:
        return self.service().operations[self.name]


def vectors(kind: str, protocols: list[str]) -> Iterator[Vector]:
    """All vectors of a kind ("input", "output") in some protocols."""
    for protocol in protocols:
        for suite in json.loads((folder() / kind / f"{protocol}.json").read_text(encoding="utf-8")):
            document = {"metadata": suite["metadata"], "shapes": suite["shapes"]}
            for case in suite["cases"]:
                yield Vector(protocol, case, document)
