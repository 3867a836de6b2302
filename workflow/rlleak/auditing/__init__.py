"""Audits: what a network's gradients leak, counted layer by layer and then measured."""

from rlleak.auditing.auditing import audit_file, audit_network
from rlleak.auditing.report import Audit

__all__ = ["Audit", "audit_file", "audit_network"]
