"""The declaration of Lambda."""

from tule.services.declaration import Coordinate, Edge, Service
from tule.services.lambda_.execution import start, stop
from tule.services.lambda_.operations import concurrency, functions, invocations, mappings, permissions, reads, tags
from tule.services.lambda_.packages import CODE_PATH, download_code

SERVICE = Service(
    name="lambda",
    operations={
        "CreateFunction": Coordinate(functions.create_function),
        "GetFunction": Coordinate(functions.get_function),
        "GetFunctionConfiguration": Coordinate(functions.get_function_configuration),
        "ListFunctions": Coordinate(functions.list_functions),
        "ListVersionsByFunction": Coordinate(functions.list_versions_by_function),
        "UpdateFunctionCode": Coordinate(functions.update_function_code),
        "UpdateFunctionConfiguration": Coordinate(functions.update_function_configuration),
        "DeleteFunction": Coordinate(functions.delete_function),
        "Invoke": Coordinate(invocations.invoke),
        "ListTags": Coordinate(tags.list_tags),
        "TagResource": Coordinate(tags.tag_resource),
        "UntagResource": Coordinate(tags.untag_resource),
        "AddPermission": Coordinate(permissions.add_permission),
        "GetPolicy": Coordinate(permissions.get_policy),
        "RemovePermission": Coordinate(permissions.remove_permission),
        "PutFunctionConcurrency": Coordinate(concurrency.put_function_concurrency),
        "GetFunctionConcurrency": Coordinate(concurrency.get_function_concurrency),
        "DeleteFunctionConcurrency": Coordinate(concurrency.delete_function_concurrency),
        "GetFunctionCodeSigningConfig": Coordinate(reads.get_function_code_signing_config),
        "GetRuntimeManagementConfig": Coordinate(reads.get_runtime_management_config),
        "GetFunctionRecursionConfig": Coordinate(reads.get_function_recursion_config),
        "GetAccountSettings": Coordinate(reads.get_account_settings),
        "CreateEventSourceMapping": Coordinate(mappings.create_event_source_mapping),
        "GetEventSourceMapping": Coordinate(mappings.get_event_source_mapping),
        "ListEventSourceMappings": Coordinate(mappings.list_event_source_mappings),
        "UpdateEventSourceMapping": Coordinate(mappings.update_event_source_mapping),
        "DeleteEventSourceMapping": Coordinate(mappings.delete_event_source_mapping),
    },
    edges=(Edge("lambda-code", (), (CODE_PATH,), download_code),),
    start=start,
    stop=stop,
    resources="tule.services.lambda_.cfn",
    coverage={
        "CreateFunction": "Zip packages, python3.* and nodejs*.x. Layers, VPCs, images, SnapStart, versions: 501.",
        "CreateEventSourceMapping": "SQS queues, without filters.",
        "AddPermission": "Stored; nothing evaluates policies yet.",
        "ListVersionsByFunction": "$LATEST alone.",
        "GetFunctionRecursionConfig": "Allow: loops are not detected yet.",
    },
)
