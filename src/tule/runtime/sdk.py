"""The AWS SDKs that handlers find when they bring none: boto3 of Tule's own, the JavaScript one from npm."""

import importlib.util
from hashlib import sha256
from pathlib import Path
from typing import Final

PYTHON_PARTS: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
PRELOADED: Final = [
    "boto3",
    "boto3.session",
    "botocore.session",
    "botocore.client",
    "botocore.endpoint",
    "botocore.parsers",
]
NODE_PRELOADED: Final = (
    "@aws-sdk/client-sts", "@aws-sdk/client-dynamodb", "@aws-sdk/lib-dynamodb", "@aws-sdk/client-sqs",
    "@aws-sdk/client-s3", "@aws-sdk/client-lambda",
)  # fmt: skip
"""What processes have loaded that wait for handlers which bring no SDK but use it: about 40 MB each."""
IN_TREE: Final = "/var/runtime/python"

NODE_MANIFEST: Final = Path(__file__).parent / "node"


def python(scratch: Path, *, tree: bool) -> tuple[str, list[tuple[str, str]], list[str]]:
    """(folder for the end of sys.path, what to show where in a tree, what must be readable without one)."""
    places = _places()
    if tree:
        return IN_TREE, [(str(place), f"{IN_TREE}/{place.name}") for place in places], []
    folder = Path(bare_folder(scratch))
    folder.mkdir(mode=0o755, exist_ok=True)
    for place in places:
        link = folder / place.name
        if not link.is_symlink():
            link.symlink_to(place)
    return str(folder), [], [str(folder), *map(str, places)]


def bare_folder(scratch: Path) -> str:
    """The folder of links that serves functions without a tree of their own."""
    return str(scratch / "python-sdk")


def _places() -> list[Path]:
    """The packages and modules of the SDK as they are installed here."""
    found = []
    for name in PYTHON_PARTS:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        found.append(origin.parent if origin.name == "__init__.py" else origin)
    return found


def node_cache(cache: Path) -> Path:
    """Where this lock's packages are installed: another lock gets another folder."""
    lock = NODE_MANIFEST / "package-lock.json"
    digest = sha256(lock.read_bytes()).hexdigest()[:16] if lock.exists() else "none"
    return cache / f"node-sdk-{digest}"


def node_modules(cache: Path) -> str:
    """The installed modules, or "" while there are none."""
    folder = node_cache(cache) / "node_modules"
    return str(folder) if folder.is_dir() else ""


def link_beside_packages(packages: Path, modules: str) -> None:
    """Let Node find them above every package, after the package's own: without a tree that is the packages' folder."""
    link = packages / "node_modules"
    if not link.is_symlink() or str(link.readlink()) != modules:
        link.unlink(missing_ok=True)
        link.symlink_to(modules)
