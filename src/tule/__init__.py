"""Tule: a serverless cloud on your own ground, spoken to in AWS's wire protocols."""

__version__ = "0.1.0"
