"""Writes the index that routing reads: `python -m tule.wire.index`, after every change of botocore's version."""

import msgspec

from tule.wire.catalog import INDEX_FILE, ServiceEntry
from tule.wire.models import data_directory, read_document


def entries() -> list[ServiceEntry]:
    """One entry for every service that botocore has a model of, by name."""
    found = []
    for folder in sorted(data_directory().iterdir()):
        if not folder.is_dir():
            continue
        try:
            metadata = read_document(folder.name)["metadata"]
        except FileNotFoundError:
            continue
        found.append(
            ServiceEntry(
                name=folder.name,
                api_version=metadata["apiVersion"],
                protocols=tuple(metadata.get("protocols") or [metadata["protocol"]]),
                signing_name=metadata.get("signingName") or metadata["endpointPrefix"],
                endpoint_prefix=metadata["endpointPrefix"],
                target_prefix=metadata.get("targetPrefix", ""),
                json_version=metadata.get("jsonVersion", ""),
                namespace=metadata.get("xmlNamespace", ""),
                query_compatible="awsQueryCompatible" in metadata,
            )
        )
    return found


def rendered() -> bytes:
    """The file's content: one line a service, so that a change of botocore's version reads well in a diff."""
    lines = b",\n".join(msgspec.json.encode(entry) for entry in entries())
    return b"[\n" + lines + b"\n]\n"


if __name__ == "__main__":
    INDEX_FILE.write_bytes(rendered())
