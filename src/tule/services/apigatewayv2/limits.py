"""API Gateway's own limits, from its quota page."""

INTEGRATION_TIMEOUT_MAX_MS = 30_000
INTEGRATION_TIMEOUT_MIN_MS = 50
ROUTES_MAX = 300
INTEGRATIONS_MAX = 300
STAGES_MAX = 10
TAGS_MAX = 50
STAGE_VARIABLES_MAX = 100
PAYLOAD_MAX_BYTES = 10 * 1024 * 1024
"""Of a request; a Lambda function takes less still, and answers for it."""

STEP_BYTES = 512 * 1024
"""AWS meters requests in steps of 512 KB of request or answer."""
