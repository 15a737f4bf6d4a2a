"""The environment variables of an execution environment. Nothing of the host's own is among them."""

from collections.abc import Mapping
from typing import Final

from tule.runtime.contract import FunctionVersion, RoleSession
from tule.runtime.hosts import Interpreter

TASK: Final = "/var/task"
RUNTIME: Final = "/var/runtime"

_BEFORE_START: Final = ("NODE_", "PYTHON", "LD_", "GLIBC_TUNABLES", "MALLOC_", "AWS_LAMBDA_EXEC_WRAPPER", "UV_")
"""Variables that act while a process starts: a process that exists already can't obey them."""


def acts_at_start(environment: Mapping[str, str]) -> bool:
    """Whether a function asks for something that only a process started for it can give."""
    return any(name.startswith(_BEFORE_START) for name in environment)


def variables(  # noqa: PLR0913 - what the names below are made of
    version: FunctionVersion,
    interpreter: Interpreter,
    session: RoleSession,
    *,
    endpoint_url: str,
    log_stream: str,
    task_root: str,
    runtime_dir: str,
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
        "PATH": f"/var/lang/bin:{programs}/usr/local/bin:/usr/bin:/bin:/opt/bin",
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
