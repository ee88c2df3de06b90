"""What runs of `anyteacher fit` have found: measured again, compared, and shown on a page."""

from anyteacher.findings.command import analyze

__all__ = ["analyze"]
