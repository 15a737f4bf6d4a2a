"""The check of a package before it is stored: that it is a zip, of a size that may be unpacked."""

import asyncio
import io
import zipfile

from tule.services.declaration import Environment
from tule.services.lambda_ import limits
from tule.services.lambda_.names import InvalidParameterValueError

UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."


async def check_package(_env: Environment, data: bytes) -> None:
    if not data:
        raise InvalidParameterValueError("Uploaded file must be a non-empty zip")
    await asyncio.to_thread(_check, data)


def _check(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            size = sum(entry.file_size for entry in package.infolist())
            if not package.infolist():
                raise InvalidParameterValueError("Uploaded file must be a non-empty zip")
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise InvalidParameterValueError(UNREADABLE) from None
    if size > limits.UNZIPPED_MAX_BYTES:
        raise InvalidParameterValueError(f"Unzipped size must be smaller than {limits.UNZIPPED_MAX_BYTES} bytes")
