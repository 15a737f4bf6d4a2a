"""How Tule is told what to be: tule.toml, then TULE_* in the environment, then flags; the later word counts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from tule.kernel.context import DEFAULT_ACCOUNT, DEFAULT_REGION

FILE_NAME: Final = "tule.toml"
DEFAULT_PORT: Final = 4566
"""LocalStack's port, because people's scripts know it."""

MOST_PARKED: Final = 50
"""Ready execution environments of a runtime (ours): each has a process's memory."""

_PREFIX: Final = "TULE_"
_LISTS: Final = ("allowed_hosts", "allowed_origins", "host_ports")


class SettingsError(Exception):
    """A setting that makes no sense: says which, why and where it came from."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One running Tule."""

    dir: str = ""
    """Tule's home; "" means ~/.tule."""
    memory: bool = False
    """Keep nothing: the store is in memory."""
    store: str = ""
    """"" for the embedded store in the home, or a postgresql:// URL."""
    host: str = ""
    """Address to listen on; "" means 127.0.0.1 and ::1."""
    port: int = DEFAULT_PORT
    """0 takes a free one."""
    public_url: str = ""
    """What background work puts into messages as Tule's own address; "" means http://localhost:<port>."""
    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    verify_signatures: bool = False
    production: bool = False
    allowed_hosts: list[str] = []
    allowed_origins: list[str] = []
    parked: int = 2
    """Execution environments kept ready for each function runtime in use; 0 keeps none, and cold starts take longer."""
    min_sandbox: Literal["", "process", "landlock", "namespaces", "full"] = ""
    """The lowest rung of the sandbox ladder on which functions may run; Tule does not start on a machine below it."""
    egress: Literal["all", "tule-only", "none"] = "all"
    """Where connections of functions may lead that say nothing themselves (by the tag tule:egress)."""
    host_ports: list[Annotated[int, msgspec.Meta(ge=1, le=65535)]] = []
    """Ports of this machine's loopback that functions find at their own localhost."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False
    """Print the banner as one line of JSON."""

    def home(self) -> Path:
        """Where Tule lives."""
        return Path(self.dir).expanduser() if self.dir else default_home()


def default_home() -> Path:
    """~/.tule, or what HOME makes of it."""
    return Path("~/.tule").expanduser()


def load(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Settings from `file` (./tule.toml unless given), the environment and `flags` (those that are not None)."""
    environ = os.environ if environ is None else environ
    values = _from_file(file or Path(FILE_NAME), must_exist=file is not None)
    for name in Settings.__struct_fields__:
        text = environ.get(_PREFIX + name.upper())
        if text is not None:
            values[name] = [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text
    values.update({name: value for name, value in flags.items() if value is not None})
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"A setting of {FILE_NAME}, {_PREFIX}* or the flags makes no sense: {error}") from error
    return _checked(settings)


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    if not path.is_file():
        if must_exist:
            raise SettingsError(f"There is no settings file {path}.")
        return {}
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read as TOML: {error}") from error


def _checked(settings: Settings) -> Settings:
    if not 0 <= settings.port <= 65535:
        raise SettingsError(f"port must be between 0 and 65535, not {settings.port}.")
    if len(settings.account) != 12 or not settings.account.isdigit():
        raise SettingsError(f'account must be 12 digits, not "{settings.account}".')
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        raise SettingsError(f'public_url must begin with http:// or https://, not be "{settings.public_url}".')
    if settings.memory and settings.store:
        raise SettingsError("memory and store exclude each other: leave one out.")
    if settings.store and not settings.store.startswith(("postgresql://", "postgres://")):
        raise SettingsError(
            f'store must be a postgresql:// URL, not "{settings.store}"; leave it out for the embedded one.'
        )
    if not 0 <= settings.parked <= MOST_PARKED:
        raise SettingsError(f"parked must be between 0 and {MOST_PARKED}, not {settings.parked}.")
    return settings
