"""The environment variables of an execution environment. Nothing of the host's own is among them."""

from collections.abc import Mapping
from typing import Final

from tule.runtime.contract import FunctionVersion, RoleSession
from tule.runtime.hosts import Interpreter

TASK: Final = "/var/task"
RUNTIME: Final = "/var/runtime"
OPT: Final = "/opt"
"""Where a function's layers are."""

_BEFORE_START: Final = ("NODE_", "PYTHON", "LD_", "GLIBC_TUNABLES", "MALLOC_", "AWS_LAMBDA_EXEC_WRAPPER", "UV_")
"""Variables that act while a process starts: a process that exists already can't obey them."""


def acts_at_start(environment: Mapping[str, str]) -> bool:
    """Whether a function asks for something that only a process started for it can give."""
    return any(name.startswith(_BEFORE_START) for name in environment)


def layer_modules(runtime: str, opt: str) -> list[str]:
    """Where modules of layers are: for Python what comes behind the function's own folder in sys.path, for Node the
    folder from which packages are looked up."""
    if runtime.startswith("nodejs"):
        return [f"{opt}/nodejs/{_node_folder(runtime)}"]
    return [f"{opt}/python/lib/{runtime}/site-packages", f"{opt}/python"]


def _node_folder(runtime: str) -> str:
    """node22 for nodejs22.x."""
    return runtime.removesuffix(".x").replace("nodejs", "node")


def _search_paths(runtime: str, task: str, own: str, opt: str) -> dict[str, str]:
    """AWS's NODE_PATH and LD_LIBRARY_PATH, and where Tule has the runtime's own SDK for JavaScript."""
    libraries = ["/var/lang/lib", "/lib64", "/usr/lib64", own, f"{own}/lib", task, f"{task}/lib"]
    found = {"LD_LIBRARY_PATH": ":".join([*libraries, f"{opt}/lib"])}
    if runtime.startswith("nodejs"):
        layers = [f"{opt}/nodejs/{_node_folder(runtime)}/node_modules", f"{opt}/nodejs/node_modules"]
        found["NODE_PATH"] = ":".join([*layers, f"{own}/node_modules", "/var/node_modules", own, task])
    return found


def variables(  # noqa: PLR0913 - what the names below are made of
    version: FunctionVersion,
    interpreter: Interpreter,
    session: RoleSession,
    *,
    endpoint_url: str,
    log_stream: str,
    task_root: str,
    runtime_dir: str,
    opt: str,
    trust: Mapping[str, str],
) -> dict[str, str]:
    """AWS's defined variables, the role's credentials, where AWS is, and the user's own, which come second."""
    form = {}
    if version.log_format == "JSON":
        form = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": version.application_level}
    programs = f"{interpreter.prefix}/bin:" if interpreter.kind == "python" else ""
    return {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        # Its user has no entry in /etc/passwd to look a home up in.
        "HOME": "/tmp",  # noqa: S108 - the instance's own
        "PATH": f"/var/lang/bin:{programs}/usr/local/bin:/usr/bin:/bin:{opt}/bin",
        **_search_paths(version.runtime, task_root, runtime_dir, opt),
        **trust,
        **version.environment,
        "_HANDLER": version.handler,
        "AWS_REGION": version.region,
        "AWS_DEFAULT_REGION": version.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": version.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": version.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        **form,
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
        "AWS_ENDPOINT_URL": version.environment.get("AWS_ENDPOINT_URL", endpoint_url),
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": runtime_dir,
    }
