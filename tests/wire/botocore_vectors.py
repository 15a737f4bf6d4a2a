"""botocore's protocol vectors, fetched once from its source distribution by version and hash."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installed import once
from tule.wire.models import OperationModel, ServiceModel

VERSION = "1.43.11"
SHA256 = "d7d479cc2809ec2728f2898521003adfb79bfe6a4615c59dfd222ec52b0cee6b"
REQUIREMENT = f"botocore=={VERSION} --hash=sha256:{SHA256}\n"


def source() -> Path:
    """botocore's source distribution, unpacked; downloaded the first time."""

    def download(folder: Path) -> None:
        (folder / "requirements.txt").write_text(REQUIREMENT, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--no-build-isolation", "--require-hashes", "--dest", str(folder)]
        subprocess.run([*command, "-r", str(folder / "requirements.txt")], check=True)
        with tarfile.open(folder / f"botocore-{VERSION}.tar.gz") as tar:
            tests = [member for member in tar.getmembers() if member.isfile() and "/tests/unit/" in member.name]
            tar.extractall(folder, tests, filter="data")

    return once("botocore-source", REQUIREMENT.encode(), download) / f"botocore-{VERSION}"


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
        for suite in json.loads(
            (source() / "tests" / "unit" / "protocols" / kind / f"{protocol}.json").read_text(encoding="utf-8")
        ):
            document = {"metadata": suite["metadata"], "shapes": suite["shapes"]}
            for case in suite["cases"]:
                yield Vector(protocol, case, document)
