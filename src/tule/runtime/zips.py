"""Deployment packages: checked and unpacked. Runs in `tule-worker` alone."""

import errno
import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from tule.runtime.contract import MAX_UNZIPPED_BYTES, PackageError

BAD_ZIP: Final = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE: Final = f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes"

ENTRIES_MAX: Final = 100_000
"""Files and folders in a package (ours): each costs an inode whatever its size."""

NAME_MAX: Final = 1024
LINK_MAX: Final = 4096
PIECE_BYTES: Final = 256 * 1024
SCANNED_BYTES: Final = 1024 * 1024
"""How much of a source file is searched for the SDK's name (ours)."""

OF_THE_HOST: Final = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE,
        errno.ENOMEM,
    }
)  # fmt: skip
"""Errors for which a package can't be blamed."""

NO_LINKS: Final = frozenset({errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP})
"""What file systems say that can't make a hard link (more of one)."""

SDK: Final = re.compile(rb"boto3|botocore")
SDK_PARTS: Final = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"})
NODE_SDK: Final = "node_modules/@aws-sdk"
IMPORTS_NODE_SDK: Final = re.compile(rb"""(?:from|require\(|import\(?)\s*["']@aws-sdk/""")
NODE_ENDINGS: Final = (".js", ".mjs", ".cjs")


def check(payload: dict[str, Any]) -> dict[str, Any]:
    """{"data": the zip} to {"refused": AWS's words, or ""}, by reading it all and keeping nothing."""
    import io

    try:
        with _opened(io.BytesIO(payload["data"])) as archive:
            _walk(archive, None)
    except PackageError as error:
        return {"refused": str(error)}
    return {"refused": ""}


def unpack(payload: dict[str, Any]) -> dict[str, Any]:
    """{"path": of the zip, "into": a folder that does not exist} to {"refused", "sdk", "layer_sdk", "bytes"}.

    "sdk" is "bundled", "wanted" or "": whether the package brings parts of its language's AWS SDK, only speaks of it,
    or neither; "layer_sdk" is true if it brings them where a layer keeps Python modules. "bytes" is the size of all
    files. The folder appears whole or not at all.
    """
    into = Path(payload["into"])
    draft = into.with_name(f".draft-{into.name}-{os.getpid()}")
    draft.mkdir(mode=0o755)
    draft.chmod(0o755)
    try:
        with Path(payload["path"]).open("rb") as file, _opened(file) as archive:
            size = _walk(archive, draft)
        answer = {"refused": "", "sdk": _sdk(draft), "layer_sdk": _brings_sdk_as_layer(draft), "bytes": size}
        draft.rename(into)
    except PackageError as error:
        shutil.rmtree(draft, ignore_errors=True)
        return {"refused": str(error), "sdk": "", "layer_sdk": False, "bytes": 0}
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return answer


def _opened(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, OverflowError) as error:
        raise PackageError(BAD_ZIP) from error


def _walk(archive: zipfile.ZipFile, root: Path | None) -> int:
    """Read every entry, and write it below `root` if there is one; the size of all. Sizes are counted, not believed."""
    entries = archive.infolist()
    if not entries or len(entries) > ENTRIES_MAX:
        raise PackageError(BAD_ZIP)
    if sum(entry.file_size for entry in entries) >= MAX_UNZIPPED_BYTES:
        raise PackageError(TOO_LARGE)
    left = MAX_UNZIPPED_BYTES
    links: dict[PurePosixPath, str] = {}
    try:
        for entry in entries:
            name = _safe(entry.filename)
            mode = entry.external_attr >> 16
            if entry.is_dir():
                if root is not None:
                    _folder(root, name)
            elif stat.S_ISLNK(mode):
                links[name] = _link(archive, entry, name)
            else:
                left -= _file(archive, entry, root, name, left)
        for name, target in links.items():  # last, so that nothing is ever written through one
            if root is not None:
                _folder(root, name.parent)
                (root / name).symlink_to(target)
    except OSError as error:
        if error.errno in OF_THE_HOST:
            raise
        raise PackageError(BAD_ZIP) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise PackageError(BAD_ZIP) from error
    return MAX_UNZIPPED_BYTES - left


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or len(name) > NAME_MAX:
        raise PackageError(BAD_ZIP)
    return path


def _link(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: PurePosixPath) -> str:
    """The target of a symbolic link, if it stays inside the package."""
    if entry.file_size > LINK_MAX:
        raise PackageError(BAD_ZIP)
    target = archive.read(entry).decode("utf-8", "strict") if entry.file_size else ""
    depth = len(name.parent.parts)
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise PackageError(BAD_ZIP)
    if not target or target.startswith("/"):
        raise PackageError(BAD_ZIP)
    return target


def _folder(root: Path, name: PurePosixPath) -> None:
    (root / name).mkdir(mode=0o755, parents=True, exist_ok=True)


def _file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path | None, name: PurePosixPath, left: int) -> int:
    size = 0
    file: BinaryIO | None = None
    try:
        if root is not None:
            _folder(root, name.parent)
            executable = 0o111 if (entry.external_attr >> 16) & 0o111 else 0
            (root / name).unlink(missing_ok=True)  # of two entries with one name the last counts
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.fdopen(os.open(root / name, flags, 0o444 | executable), "wb")
        with archive.open(entry) as source:
            while piece := source.read(PIECE_BYTES):
                size += len(piece)
                if size >= left:
                    raise PackageError(TOO_LARGE)
                if file is not None:
                    file.write(piece)
    finally:
        if file is not None:
            file.close()
    return size


def _sdk(root: Path) -> str:
    """Which zygote suits the package: see `unpack`."""
    if _brings_sdk(root) or (root / NODE_SDK).exists():
        return "bundled"
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != "node_modules"]
        for name in files:
            words = SDK if name.endswith(".py") else IMPORTS_NODE_SDK if name.endswith(NODE_ENDINGS) else None
            if words and _speaks_of(Path(folder, name), words):
                return "wanted"
    return ""


def _speaks_of(file: Path, words: re.Pattern[bytes]) -> bool:
    """Whether the words occur in the beginning of a file."""
    if file.is_symlink():
        return False
    with file.open("rb") as source:
        return words.search(source.read(SCANNED_BYTES)) is not None


def _brings_sdk(folder: Path) -> bool:
    return any((folder / part).exists() or (folder / f"{part}.py").exists() for part in SDK_PARTS)


def _brings_sdk_as_layer(root: Path) -> bool:
    """Whether the SDK is where a layer's modules are looked for: below python, or in a site-packages of it."""
    folders = [root / "python", *root.glob("python/lib/python3.*/site-packages")]
    return any(_brings_sdk(folder) for folder in folders)


def merge(payload: dict[str, Any]) -> dict[str, Any]:
    """{"layers": folders of unpacked layers, "into": a folder that does not exist} to {}: one tree of hard links.

    Of two files with one name the later layer's counts, as on AWS, where layers are unpacked over each other. The
    folder appears whole or not at all.
    """
    into = Path(payload["into"])
    draft = into.with_name(f".draft-{into.name}-{os.getpid()}")
    draft.mkdir(mode=0o755)
    draft.chmod(0o755)
    try:
        for layer in payload["layers"]:
            _lay_over(Path(layer), draft)
        draft.rename(into)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return {}


def _lay_over(source: Path, target: Path) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            goal = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                if goal.is_symlink() or goal.is_file():
                    goal.unlink()
                goal.mkdir(mode=0o755, exist_ok=True)
                _lay_over(Path(entry.path), goal)
                continue
            if goal.is_dir() and not goal.is_symlink():
                shutil.rmtree(goal)
            goal.unlink(missing_ok=True)
            if entry.is_symlink():
                goal.symlink_to(Path(entry.path).readlink())
                continue
            try:
                goal.hardlink_to(entry.path)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                shutil.copy2(entry.path, goal)
