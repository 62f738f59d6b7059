"""`palaestra play` for the two text worlds: by short names in the terminal, and the shop as pages."""

from __future__ import annotations

import http.client
import json
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palaestra.envs.webshop.generator import make_shop, write_shop
from tests.cli.conftest import ENVIRONMENT, Command, in_process


@contextmanager
def open_shop(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `palaestra play webshop --web`, and the address it announced."""
    command = [sys.executable, "-W", "error", "-m", "palaestra", "play", "webshop", "--web", *map(str, words)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        try:
            assert process.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(60), "nothing was announced within a minute"
            line = process.stdout.readline()
            yield process, line.partition(": ")[2].strip() if line else pytest.fail(process.communicate()[1])
        finally:
            process.kill()


def get(url: str, path: str = "/") -> tuple[int, str]:
    """The status of an answer, and where it sends one on to."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.getheader("location") or response.read().decode()
    finally:
        connection.close()


# -- in the terminal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alfworld", "webshop", "WebShop", "palaestra/ALFWorld-v0"])
def test_a_text_world_is_won_by_following_hints(name: str, command: Command) -> None:
    lines = ""
    for _ in range(30):  # one more hint each time, as a person would
        out = command("play", name, "--split", "train", stdin=lines + "hint\n").out
        told = re.findall(r"Hint: (.+) \(\d+ moves to go\)", out)
        if not told:
            break
        lines += told[-1] + "\n"
    done = command("play", name, "--split", "train", stdin=lines)
    assert (done.code, done.err) == (0, "")
    assert "Solved in" in done.out
    assert done.out.endswith("1 of 1 levels solved.\n")


def test_the_shop_is_shown_line_by_line_unless_told_otherwise(command: Command) -> None:
    shown = command("play", "webshop", stdin="search[blue mug]\n").out
    assert " [SEP] " not in shown
    assert "[button] Back to Search [button_]\nPage 1 (Total results: " in shown
    assert " [SEP] " in command("play", "webshop", "--set", "obs=text", stdin="search[blue mug]\n").out


def test_a_users_own_files_are_played(tmp_path: Path, command: Command) -> None:
    for name in ("whole", "cut"):  # two folders, because a shop that was opened stays open
        write_shop(make_shop("corner", 30), tmp_path / name, compress=False)
    assert command("play", "webshop", "--set", f"catalogue={tmp_path}/whole", "--split", "all").code == 0
    (tmp_path / "cut" / "items_shuffle.json").write_text("[{")
    refused = command("play", "webshop", "--set", f"catalogue={tmp_path}/cut")
    assert (refused.code, refused.out) == (2, "")
    assert f"error [webshop_data]: {tmp_path}/cut/items_shuffle.json cannot be read as JSON" in refused.err
    assert "download or copy it again" in refused.err


# -- as pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_the_shop_is_open_until_it_is_told_to_close(told: signal.Signals) -> None:
    with open_shop("--seed", 3, "--split", "test", "--set", "catalogue=corner") as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        status, place = get(url)
        assert status == 303
        assert "Instruction:" in get(url, place)[1]
        process.send_signal(told)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Ctrl-C closes it.\nThe shop is closed.\n")


def test_it_opens_at_the_port_that_was_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        refused = in_process("play", "webshop", "--web", "--port", port, "--set", "catalogue=corner")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error [port_taken]: port {port} of 127.0.0.1 is taken")
    with open_shop("--port", port, "--set", "catalogue=corner") as (_, url):
        assert url == f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sokoban", "--web"), "error [no_web]: palaestra/Sokoban-v0 has no web pages"),
        (("alfworld", "--web"), "error [no_web]: palaestra/ALFWorld-v0 has no web pages"),
        (("webshop", "--port", 8000), "error [port]: --port 8000 is for pages; add --web"),
        (("webshop", "--web", "--level", 2), "error [level]: --level 2 is for the terminal"),
        (("webshop", "--web", "--split", "tset"), "error [config]: WebShopConfig.split"),
        (("webshop", "--web", "--set", "page_sise=3"), "did you mean 'page_size'?"),
        (("webshop", "--web", "--set", "catalogue=/no/shop"), "error [webshop_data]: no folder /no/shop"),
    ],
)
def test_what_cannot_be_served_is_refused(words: tuple[object, ...], said: str, command: Command) -> None:
    refused = command("play", *words)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_records_that_are_no_products_do_not_close_the_shop(tmp_path: Path) -> None:
    write_shop(make_shop("corner", 30), tmp_path, compress=False)
    items = json.loads((tmp_path / "items_shuffle.json").read_text())
    (tmp_path / "items_shuffle.json").write_text(json.dumps([{"asin": "nan"}, 7, *items]))
    with open_shop("--set", f"catalogue={tmp_path}", "--split", "all") as (_, url):
        assert get(url)[0] == 303
