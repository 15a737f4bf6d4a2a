"""AWS's runtime interface client for Java, which AWS's own environments bring and packages therefore don't.

Its jars are fetched once, by the host's Maven, into Tule's cache; anybody may put them there instead. Each is pinned
by its digest.
"""

import asyncio
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Final

from tule.runtime.contract import RuntimeUnavailableError

MAIN: Final = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"
VERSION: Final = "2.6.0"
JARS: Final = {
    "com.amazonaws:aws-lambda-java-runtime-interface-client:2.6.0": (
        "7b503b4b891e259df5268d298f3ad04991675872c035e8997a18027a7ed35941"
    ),
    "com.amazonaws:aws-lambda-java-core:1.2.3": "59e36aa26029fbb8f542b023fff86422a5577105764d31839b56d495d73faa5c",
    "com.amazonaws:aws-lambda-java-serialization:1.1.5": (
        "d444e7e1accdfd37a86863ff788d7a8076280d77fe1b6c40b7d7a60f9af2bb8f"
    ),
}
"""Artifacts by their coordinates, and the SHA-256 of each."""

IN_TREE: Final = "/var/runtime/lib"
FETCHED_WITHIN_S: Final = 180.0


def folder(cache: Path) -> Path:
    """Where the jars are, or would be."""
    return cache / f"java-client-{VERSION}"


def jar_name(coordinates: str) -> str:
    _, artifact, version = coordinates.split(":")
    return f"{artifact}-{version}.jar"


def complete(cache: Path) -> bool:
    return all((folder(cache) / jar_name(one)).exists() for one in JARS)


_fetching: dict[Path, asyncio.Task[None]] = {}


async def install(cache: Path) -> None:
    """Have the jars in place. Raises `RuntimeUnavailableError` with what is missing; the next call tries again."""
    if complete(cache):
        return
    task = _fetching.get(cache)
    if task is None:
        task = _fetching[cache] = asyncio.get_running_loop().create_task(_fetch(cache))
        task.add_done_callback(lambda _: _fetching.pop(cache, None))
    await asyncio.shield(task)


async def _fetch(cache: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise _missing(cache, "this machine has no Maven (mvn) to fetch it with")
    place = folder(cache)
    draft = place.with_name(f".draft-{place.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for coordinates, digest in JARS.items():
            why = await _copy(maven, coordinates, draft)
            if why:
                raise _missing(cache, f"Maven could not fetch it: {why}")
            jar = draft / jar_name(coordinates)
            if sha256(jar.read_bytes()).hexdigest() != digest:
                raise _missing(cache, f"{jar.name} is not the file that Tule knows by its digest")
            jar.chmod(0o644)
        draft.chmod(0o755)
        place.parent.chmod(0o755)
        if not complete(cache):  # another Tule with the same cache may have been faster
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


async def _copy(maven: str, coordinates: str, into: Path) -> str:
    """Fetch one artifact; why that failed, or ""."""
    process = await asyncio.create_subprocess_exec(
        maven, "--quiet", "--batch-mode", "dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={into}",
        cwd=into, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(FETCHED_WITHIN_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        return f"it took longer than {FETCHED_WITHIN_S:g} s"
    return "" if process.returncode == 0 else output.decode("utf-8", "replace").strip()[-400:]


def _missing(cache: Path, why: str) -> RuntimeUnavailableError:
    jars = ", ".join(jar_name(coordinates) for coordinates in JARS)
    return RuntimeUnavailableError(
        f"Java functions need AWS's runtime interface client, and {why}. Install Maven, or put {jars} into "
        f"{folder(cache)}."
    )
