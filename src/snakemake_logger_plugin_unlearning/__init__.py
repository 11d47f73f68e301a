"""Snakemake's log as one live line on a terminal, and as a line a job elsewhere.

`--logger unlearning`. Warnings and errors are shown as Snakemake shows them, a failed job with the
end of its log; everything is in Snakemake's own file below .snakemake/log, as without this plugin.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from logging import WARNING, LogRecord
from pathlib import Path, PurePath

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import DefaultFilter, DefaultFormatter
from snakemake.settings import types
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from unlearning.jobs import progress

FIRST = "first_table"
"""The rule whose table is shown as soon as it is there."""
CLEAR = "\r\x1b[K"
TAIL = 10
"""Lines of a failed job's log that are shown; its last line says what was wrong."""
SHOWN = ("Nothing to be done", "Complete log", "Would ", "Exiting", "Terminating")
"""How plain messages begin that are shown."""
FAILED = "RuleException:\nCalledProcessError"
"""How Snakemake's message with the command of a failed job begins; the job's log says more."""


def _config(file: Path) -> dict:
    """The config that --configfile names; WorkflowError, which Snakemake prints, without it."""
    if not Path(file).is_file():
        raise WorkflowError(f"{file}: no such config; targets go before --configfile or after --")
    return load_configfile(file)


# Snakemake 9.27 reads it before any Snakefile, and a missing one is a traceback. It has imported
# all plugins by then, also where this logger is not used.
types.load_configfile = _config


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
            text = self.format(record)
            if self.progress and event == LogEvent.JOB_ERROR:
                text = _failed(record, self.progress.fail(record.jobid))
            self._say(text)
            self._draw()
        elif str(record.msg).startswith(SHOWN) or (
            record.levelno >= WARNING and not str(record.msg).startswith(FAILED)
        ):
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
            self._write(CLEAR + self.progress.line(width))

    def _say(self, text: str | None) -> None:
        if text:
            self._write((CLEAR if self.live else "") + text.strip("\n") + "\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may have been closed
            self.stream.write(text)
            self.stream.flush()


def _failed(record: LogRecord, job: str) -> str:
    """A failed job: what it was to do, where its log is and the end of it; no command."""
    lines = [f"Error in rule {record.rule_name}: {job}"]
    lines += [f"    {record.rule_msg}"] if record.rule_msg else []
    for log in map(Path, record.log):
        lines.append(f"    log: {log}")
        with contextlib.suppress(OSError):
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
            lines += [f"    {line}" for line in said]
    return "\n".join(lines)
