"""Processes that race for one download, one of them slow and one killed in the middle."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import ledger
import pytest
from faults import Child, leftovers
from test_sources import Server, assert_packed, idx_sample

from unlearning.data import download, sources


@pytest.fixture
def published():
    """A data set that a server on this machine offers."""
    server, sample = Server(), idx_sample()
    info = server.publish(sample.info, sample.files)
    yield sample, info
    server.httpd.shutdown()
    server.httpd.server_close()


def racer(info, out: Path, name: str, middle=lambda: None) -> Child:
    """A process that fetches; in the middle of its first download `middle` is called."""

    def work():
        real, calls = download._stream, []

        def halfway(file, target):
            calls.append(None)
            if len(calls) == 1:
                target.write_bytes(b"half")
                middle()
            real(file, target)

        download._stream = halfway
        sources.fetch(info, out, backoff=0.01)

    return Child(work, out.parent / f"{name}.log")


def test_processes_that_race_for_one_download_all_end_well(published, tmp_path):
    sample, info = published
    out, (there, writer), (go, start) = tmp_path / "data", os.pipe(), os.pipe()

    def wait():
        os.write(writer, b".")
        os.read(go, 1)

    with racer(info, out, "slow", wait) as slow:
        os.read(there, 1)
        with racer(info, out, "killed", lambda: (os.write(writer, b"."), time.sleep(60))) as killed:
            os.read(there, 1)
            assert len(leftovers(out)) == 2  # both are in the middle
            killed.kill()
            assert killed.end() == -signal.SIGKILL
        quick = [racer(info, out, f"quick-{number}") for number in range(2)]
        ends = [child.end() for child in quick]
        assert_packed(sample, out)
        os.write(start, b".")
        ends.append(slow.end())
    wrong = [end for end in ends if end] + leftovers(out)
    for name, content in sample.files.items():
        wrong += [name] if (out / "downloads" / info.name / name).read_bytes() != content else []
    ledger.count("race_download", 4, len(wrong))
    assert not wrong, [child.words for child in (slow, *quick)]
    assert_packed(sample, out)
