"""The report: pure info, then figures, then one page. Needs no torch."""
