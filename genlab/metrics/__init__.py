"""torchmetrics of what the lab reports."""

from genlab.metrics.active_units import ActiveUnits
from genlab.metrics.codebook import CodebookUsage, perplexity

__all__ = ["ActiveUnits", "CodebookUsage", "perplexity"]
