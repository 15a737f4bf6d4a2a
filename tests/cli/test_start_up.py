"""Start-up stays fast because heavy modules stay away, which a clock could not tell on a busy machine."""

import subprocess
import sys

import pytest

HEAVY = (
    "boto3",
    "botocore",
    "awscli",
    "samtranslator",
    "rich",
    "cryptography",
    "yaml",
    "asyncpg",
    "psutil",
    "pydantic",
)
OURS_BELOW_THE_KERNEL = ("apsw", "uvloop", "httptools", "msgspec", "asyncio", "tule.app", "tule.gateway", "tule.store")


def imported(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "clock", "reset", "env", "aws", "traces", "ledger", "logs"]
)
def test_a_command_imports_little(command: str):
    loaded = imported(f"import tule.cli.main\ntule.cli.main.tule.get_command(None, {command!r})")
    assert loaded.isdisjoint({*HEAVY, *OURS_BELOW_THE_KERNEL})


def test_the_process_imports_no_service_and_nothing_heavy():
    loaded = imported("import tule.app, uvloop")
    assert loaded.isdisjoint(HEAVY)
    assert not [name for name in loaded if name.startswith("tule.services.") and name.count(".") > 2]
