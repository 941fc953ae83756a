"""The upload appliance: files in over HTTP, durable work behind it."""

__version__ = "0.1.0"
