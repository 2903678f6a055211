"""What people look at after training: one page about a run, one page about several."""

from vaegan.report.compare_report import write_comparison
from vaegan.report.run_report import write_report

__all__ = ["write_comparison", "write_report"]
