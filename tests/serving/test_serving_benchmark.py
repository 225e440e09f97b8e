"""The serving benchmark's own arithmetic: a wrong figure there is believed for a long time."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import Run, build_request
from benchmarks.serving import CEILING, FASTAPI, INT8, OURS, STUDENT, medians, plot, summary, table


def figures(rate: float, p99: float = 10.0, errors: int = 0, shed: int = 0) -> dict[str, Any]:
    level = {"requests_per_second": rate, "p50_ms": 1.0, "p99_ms": p99, "errors": errors, "shed": shed}
    return {"16": dict(level), "64": dict(level), "memory_mb": 100}


def everything(*speeds: float) -> dict[str, Any]:
    """A run whose machine had these speeds in its rounds."""
    rounds = [
        {
            CEILING: 1000 * speed,
            OURS: figures(800 * speed, 40, 1, 2),
            INT8: figures(900 * speed),
            STUDENT: figures(1200 * speed),
            FASTAPI: figures(100 * speed),
        }
        for speed in speeds
    ]
    services = {name: medians([one[name] for one in rounds]) for name in rounds[0] if name != CEILING}
    return {**summary(rounds, services), "services": services}


def test_ratios_are_ours_over_theirs_and_missing_peers_are_none() -> None:
    """A peer that was not there must not look beaten."""
    found = everything(1.0)
    assert found["ours_over_fastapi_c16"] == 8
    assert found["ours_over_mlflow_onnx_c16"] is None
    assert found["student_over_ours_c16"] == 1.5
    assert found["share_of_ceiling_c64"] == 0.8
    assert found["int8_share_of_ceiling_c64"] == 0.9
    assert found["p99_ms_c16"] == 40
    assert (found["errors"], found["shed"]) == (2, 4)


def test_ratios_are_taken_within_a_round_and_faults_are_summed() -> None:
    """A machine that slows down between a peer's turn and ours would decide the comparison."""
    found = everything(1.0, 0.4, 0.5)
    assert found["ours_over_fastapi_c16"] == 8
    assert found["share_of_ceiling_c64"] == 0.8
    assert found["ceiling_texts_per_second"] == 500
    assert (found["errors"], found["shed"]) == (6, 12)


def test_table_and_plot_hold_every_service(tmp_path: Path) -> None:
    """A service that is left out is not missed."""
    found = everything(1.0)
    text = table(found)
    assert all(f"| {name} |" in text for name in found["services"])
    assert len({line.count("|") for line in text.splitlines()}) == 1
    plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_load_counts_answers_errors_and_what_was_shed() -> None:
    """Errors are fast: counted as answers they make a broken service the winner."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        statuses = itertools.cycle((200, 200, 429, 500))
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length)) == {"texts": ["sun"]}
            await asyncio.sleep(0.005)
            writer.write(f"HTTP/1.1 {next(statuses)} X\r\nContent-Length: 2\r\n\r\n".encode())
            writer.write(b"{}")
        writer.close()

    async def scenario() -> dict[str, Any]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        request = build_request("127.0.0.1", port, "/classify", b'{"texts": ["sun"]}')
        run = Run("127.0.0.1", port, itertools.repeat(request), 2.0)
        found = await run.go(4, 0.05)
        server.close()
        return found

    found = asyncio.run(scenario())
    total = found["requests_per_second"] * 2 + found["errors"] + found["shed"]
    assert total > 20
    assert found["requests_per_second"] * 2 == pytest.approx(total / 2, rel=0.2)
    assert found["errors"] == pytest.approx(total / 4, rel=0.3)
    assert found["shed"] == pytest.approx(total / 4, rel=0.3)
    assert 5 <= found["p50_ms"] <= found["p99_ms"]
