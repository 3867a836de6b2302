"""What may be configured: pydantic models that refuse unknown keys, and a loader that names every mistake in one line.

Light on purpose: nothing here imports torch, so that the workflow can validate its configuration before any work.
"""
