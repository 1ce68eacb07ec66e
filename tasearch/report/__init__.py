"""The report: plain values, figures drawn from them, and one page. It needs no torch."""
