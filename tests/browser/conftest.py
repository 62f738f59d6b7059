"""A real Chromium, and pages that record everything they ask for and complain about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from palaestra.dashboard.report import write_report
from tests.dashboard.runs import build_run

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page with what it asked for and complained about since it was opened."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def dismiss(self, dialog: Any) -> None:
        """No report opens one; left open it would block the page."""
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


Open = Callable[..., Opened]


@pytest.fixture(scope="module")  # not longer: while it lives, no other test of this thread can run an event loop
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on the PATH: the report is not tried in a browser")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a report; keyword arguments go to `browser.new_page` (viewport, color_scheme, ...)."""
    pages: list[Any] = []

    def opener(report: Path, **settings: Any) -> Opened:
        page = browser.new_page(**settings)
        pages.append(page)
        opened = Opened(page)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("dialog", opened.dismiss)
        page.goto(report.resolve().as_uri())
        return opened

    yield opener
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a finished real run."""
    return write_report(build_run(tmp_path_factory.mktemp("browser") / "demo"))
