"""Snakemake's log as one live line on a terminal, and as a line a job elsewhere.

`--logger unlearning`. Warnings, errors and failed jobs are shown as Snakemake shows them;
everything is in Snakemake's own file below .snakemake/log, as without this plugin.
"""

from __future__ import annotations

import shutil
import sys
import threading
from logging import WARNING, LogRecord
from pathlib import Path, PurePath

from snakemake.logging import DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from unlearning.jobs import progress

FIRST = "first_table"
"""The rule whose table is shown as soon as it is there."""
CLEAR = "\r\x1b[K"
SHOWN = ("Nothing to be done", "Complete log", "Would ", "Exiting", "Terminating")
"""How plain messages begin that are shown."""


class LogHandler(LogHandlerBase):
    """Writes to standard error."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.live = self.stream.isatty()
        self.progress: progress.Progress | None = None
        self.cores = 1
        self.first: tuple[int, Path] | tuple[None, None] = (None, None)
        self.ended = threading.Event()
        settings = self.common_settings
        self.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
        self.addFilter(
            DefaultFilter(
                settings.quiet,
                settings.debug_dag,
                settings.verbose,
                settings.dryrun,
                settings.printshellcmds,
            )
        )

    def emit(self, record: LogRecord) -> None:
        """Show a record, or what it changes of the run's progress."""
        try:
            self._show(record)
        except Exception:  # as logging's own handlers: printed, and the run goes on
            self.handleError(record)

    def _show(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        if self.common_settings.dryrun or self.common_settings.verbose:
            self._say(self.format(record))
        elif event == LogEvent.RESOURCES_INFO:
            self.cores = getattr(record, "cores", None) or self.cores
        elif event == LogEvent.RUN_INFO:
            self._begin(record.stats["total"])
        elif event == LogEvent.JOB_INFO and self.progress:
            text = record.rule_msg or record.rule_name
            name = "/".join(PurePath(record.log[0]).with_suffix("").parts) if record.log else ""
            self.progress.start(record.jobid, text, name.partition("/logs/")[2])
            if record.rule_name == FIRST:
                self.first = record.jobid, Path(record.output[-1])
            self._draw()
        elif event == LogEvent.JOB_FINISHED and self.progress:
            text, spent = self.progress.finish(record.job_id)
            done, total = self.progress.done, self.progress.total
            if not self.live:
                self._say(f"{done:>{len(str(total))}} of {total}  {spent:7.1f} s  {text}")
            if record.job_id == self.first[0]:
                after = progress.minutes(self.progress.elapsed())
                self._say(f"\nAfter {after}:\n{self.first[1].read_text(encoding='utf-8')}")
            self._draw()
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            if self.progress and event == LogEvent.JOB_ERROR:
                self.progress.fail(record.jobid)
            self._say(self.format(record))
            self._draw()
        elif record.levelno >= WARNING or str(record.msg).startswith(SHOWN):
            self._say(self.format(record))

    def close(self) -> None:
        """Leave the terminal clean, and say how the run went."""
        self.ended.set()
        if self.progress and (self.progress.done or self.progress.failed):
            run, self.progress = self.progress, None
            failed = f", {run.failed} failed" if run.failed else ""
            spent = progress.minutes(run.elapsed())
            self._say(f"{run.done} of {run.total} jobs in {spent}{failed}")
        super().close()

    def _begin(self, total: int) -> None:
        if self.progress is None:
            self.progress = progress.Progress(total, self.cores)
            if self.live:
                threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        """Draw the line once a second, so that a long job does not look like a dead one."""
        while not self.ended.wait(1):
            with self.lock:
                self._draw()

    def _draw(self) -> None:
        if self.live and self.progress and not self.ended.is_set():
            width = shutil.get_terminal_size().columns
            self.stream.write(CLEAR + self.progress.line(width))
            self.stream.flush()

    def _say(self, text: str | None) -> None:
        if text:
            self.stream.write((CLEAR if self.live else "") + text.strip("\n") + "\n")
            self.stream.flush()
