"""AWS Lambda: functions, their invocation, and what feeds them from queues."""
