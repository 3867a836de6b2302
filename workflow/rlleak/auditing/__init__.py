"""Audits: what a network's gradients leak, counted layer by layer and then measured."""
