"""What people look at after training: one page about a run, one page about several."""

from vaegan.report.pictures_of_run import between
from vaegan.report.run_report import write_report

__all__ = ["between", "write_report"]
