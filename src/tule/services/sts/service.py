"""STS's declaration."""

from tule.services.declaration import Coordinate, Read, Service
from tule.services.sts import provider
from tule.services.sts.state import shard_of

SERVICE = Service(
    name="sts",
    operations={
        "GetCallerIdentity": Read(provider.get_caller_identity, shard_of),
        "GetAccessKeyInfo": Read(provider.get_access_key_info, shard_of),
        "AssumeRole": Coordinate(provider.assume_role),
    },
    start=provider.restore,
    coverage={"AssumeRole": "The trust policy is not evaluated; session policies and tags are refused."},
)
