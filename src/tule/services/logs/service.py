"""Logs' declaration."""

from tule.services.declaration import Coordinate, Read, Service, Transact
from tule.services.logs.operations import events, groups, streams
from tule.services.logs.output import start, stop
from tule.services.logs.state import shard_of

SERVICE = Service(
    name="logs",
    operations={
        "CreateLogGroup": Transact(groups.create_log_group, shard_of),
        "DeleteLogGroup": Transact(groups.delete_log_group, shard_of),
        "DescribeLogGroups": Coordinate(groups.describe_log_groups),
        "PutRetentionPolicy": Transact(groups.put_retention_policy, shard_of),
        "DeleteRetentionPolicy": Transact(groups.delete_retention_policy, shard_of),
        "TagResource": Transact(groups.tag, shard_of),
        "TagLogGroup": Transact(groups.tag, shard_of),
        "UntagResource": Transact(groups.untag, shard_of),
        "UntagLogGroup": Transact(groups.untag, shard_of),
        "ListTagsForResource": Read(groups.list_tags, shard_of),
        "ListTagsLogGroup": Read(groups.list_tags, shard_of),
        "CreateLogStream": Transact(streams.create_log_stream, shard_of),
        "DeleteLogStream": Transact(streams.delete_log_stream, shard_of),
        "DescribeLogStreams": Read(streams.describe_log_streams, shard_of),
        "PutLogEvents": Transact(events.put_log_events, shard_of),
        "GetLogEvents": Read(events.get_log_events, shard_of),
        "FilterLogEvents": Read(events.filter_log_events, shard_of),
    },
    timers={groups.RETENTION: groups.on_retention},
    start=start,
    stop=stop,
    resources="tule.services.logs.cfn",
    coverage={"FilterLogEvents": "Text patterns; JSON, space-delimited and regular-expression patterns answer 501."},
)
