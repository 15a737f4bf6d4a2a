"""Import this first: it loads structlog without rich, which structlog takes along wherever it is installed.

That costs 80 ms and 10 MB in a process that never prints for people. rich stays importable for everybody else.
"""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how the import system is told that there is none
    import structlog  # noqa: F401 - loading it now is the point

    del sys.modules["rich"]
