"""AWS's APIs inside an execution environment: the Runtime API, the Extensions API, the Telemetry and Logs API."""
