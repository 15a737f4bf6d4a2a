"""tule deploy: packages code and hands a template to CloudFormation; tule delete takes it back."""

from tule.cli.deploy.command import command

__all__ = ["command"]
