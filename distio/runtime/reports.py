"""The reports of a coordinator to its clients, which tell of them in their logs."""

from __future__ import annotations

import logging

from distio.coordination.code.words import describe_code
from distio.coordination.placement.words import describe_unfit
from distio.coordination.recovery.words import describe_loss
from distio.coordination.state.member import Report
from distio.protocol import messages as m
from distio.protocol.messages.code import CodeReported
from distio.runtime.logs import log

__all__ = ["log_report"]


def log_report(report: Report, *, makes_calls: bool) -> None:
    """Log a report.

    Args:
        report: of lost fibers, of other code, or of fibers for which there is no worker.
        makes_calls: whether the user of this process calls plain functions, and knows of no fibers.
    """
    if isinstance(report, m.NoWorkerFits):
        log.warning("%s", describe_unfit(report))
        return
    if isinstance(report, CodeReported):
        log.warning("%s", describe_code(report))
        return
    level = logging.WARNING if report.lost or report.waiting else logging.INFO
    log.log(level, "%s", describe_loss(report, of_calls=makes_calls))
