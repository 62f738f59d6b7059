"""The three files in the original's format: read as they are, with every fault of them named."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.core.checks import check_agent_env
from palaestra.envs.core.errors import TaskError
from palaestra.envs.webshop.catalogue import Product, read_price
from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.generator import EMBEDDED_PRODUCTS, make_shop, write_shop
from palaestra.envs.webshop.sources import open_source
from palaestra.mcp_servers.errors import StoreError

RECORD: dict[str, Any] = {
    "asin": "B01",
    "name": "Acme Shirt",
    "category": "fashion",
    "query": " Shirts ",
    "product_category": "Clothing › Men › Shirts",
    "full_description": "A <b>shirt</b>.",
    "small_description": ["Soft", "Warm"],
    "pricing": "$12.50",
    "images": ["https://example.invalid/x.jpg"],
    "customization_options": {"Size": [{"value": " 10/12 ", "image": None}, {"value": "XL"}], "Fit": None},
}


def write(folder: Path, *records: Any, facts: Any = None, human: Any = None, small: bool = False) -> Path:
    ending = "_1000" if small else ""
    entry = {"instruction": "I want a soft shirt.", "instruction_attributes": ["soft"], "instruction_options": ["xl"]}
    known = {"attributes": ["soft"], "instruction": "find me soft shirts", "instruction_attributes": ["soft"]}
    folder.mkdir(exist_ok=True)
    (folder / f"items_shuffle{ending}.json").write_text(json.dumps(records))
    (folder / f"items_ins_v2{ending}.json").write_text(json.dumps({"B01": known} if facts is None else facts))
    (folder / "items_human_ins.json").write_text(json.dumps({"B01": [entry]} if human is None else human))
    return folder


def products(folder: Path, **settings: Any) -> tuple[Product, ...]:
    return open_source(WebShopConfig(catalogue=str(folder), **settings)).shop.catalogue.products


def test_a_record_becomes_a_product(tmp_path: Path) -> None:
    (product,) = products(write(tmp_path, RECORD))
    assert (product.query, product.price, product.tag) == ("shirts", 12.5, "$12.5")
    assert product.options == {"size": ("10 | 12", "xl")}
    assert product.attributes == ("soft",)
    assert product.document == "acme shirt a <b>shirt</b>. soft size: 10 | 12, xl"
    goal = open_source(WebShopConfig(catalogue=str(tmp_path))).goals.at("all", 0)
    assert goal.instruction.startswith("I want a soft shirt, and price lower than ")
    assert goal.options == ("xl",)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [(None, [100.0]), ("", [100.0]), ("$1,299.00", [1299.0]), ("$5.99$12.50$20", [5.99, 12.5, 20.0]), ("US $3", [3.0])],
)
def test_prices(text: str | None, amounts: list[float]) -> None:
    assert read_price(text) == amounts


def test_a_price_range_is_drawn_from_and_shown(tmp_path: Path) -> None:
    folder = write(tmp_path, RECORD | {"pricing": "$10.00 - $20.00"})
    (one,), (other,) = products(folder), products(folder, price_seed=1)
    assert one.tag == other.tag == "$10.0 to $20.0"
    assert 10 < one.price < 20
    assert one.price != other.price


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["no", "object"], "this is list"),
        ({"name": "x"}, "'asin' is missing"),
        (RECORD | {"asin": "nan"}, "'nan' is no id"),
        (RECORD | {"asin": "B0123456789"}, "no id of 1 to 10 characters"),
        (RECORD | {"asin": 7}, "no id"),
        (RECORD, "stands there twice"),
        (RECORD | {"asin": "B02", "pricing": "free"}, "'free' names no amount"),
        (RECORD | {"asin": "B02", "pricing": "$1.2.3"}, "1.2.3"),
        (RECORD | {"asin": "B02", "customization_options": {"Size": [{"image": None}]}}, "'value' is missing"),
        (RECORD | {"asin": "B02", "customization_options": [1]}, "items"),
        ({key: value for key, value in RECORD.items() if key != "name"} | {"asin": "B02"}, "'name' is missing"),
    ],
)
def test_one_bad_record_is_left_out_and_named(
    tmp_path: Path, record: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, RECORD, record, RECORD | {"asin": "B09"})
    with caplog.at_level(logging.WARNING):
        catalogue = open_source(WebShopConfig(catalogue=str(folder))).shop.catalogue
    assert [product.asin for product in catalogue.products] == ["B01", "B09"]
    (rejected,) = catalogue.rejected
    assert rejected.index == 1
    assert reason in rejected.reason
    assert "1 records left out, first no. 1" in caplog.text


def test_odd_records_that_the_original_takes_are_taken(tmp_path: Path) -> None:
    odd = RECORD | {"small_description": "one text", "customization_options": None, "pricing": None, "query": None}
    (product,) = products(write(tmp_path, odd, facts={}))
    assert product.bullets == ("one text",)
    assert (product.options, product.tag, product.query) == ({}, "$100.0", "")
    assert product.attributes == ("DUMMY_ATTR",)


def test_the_small_files_serve_small_shops(tmp_path: Path) -> None:
    write(tmp_path, RECORD | {"name": "Full"}, RECORD | {"asin": "B02"})
    write(tmp_path, RECORD | {"name": "Small"}, small=True)
    assert [p.name for p in products(tmp_path)] == ["Full", "Acme Shirt"]
    assert [p.name for p in products(tmp_path, products=1000)] == ["Small"]


def test_files_may_be_compressed_and_cut(tmp_path: Path) -> None:
    write_shop(make_shop("shelves", 60, seed=5), tmp_path)
    assert len(products(tmp_path)) == 60
    assert len(products(tmp_path, products=25)) == 25
    assert (tmp_path / "items_shuffle.json.gz").is_file()


@pytest.mark.parametrize("name", ["items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (None, "has no"),
        (b"[{", "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b'"text"', "holds str, expected"),
    ],
)
def test_a_file_that_is_missing_or_no_such_file_is_named(
    tmp_path: Path, name: str, fault: bytes | None, message: str
) -> None:
    write(tmp_path, RECORD)
    if fault is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(fault)
    with pytest.raises(TaskError, match=message) as caught:
        WebShopEnv(catalogue=str(tmp_path))
    assert caught.value.code == "webshop_data"
    assert name in str(caught.value)


def test_damaged_compression_is_named(tmp_path: Path) -> None:
    write(tmp_path, RECORD)
    (tmp_path / "items_shuffle.json").rename(tmp_path / "old")
    (tmp_path / "items_shuffle.json.gz").write_bytes(gzip.compress(b"[]")[:-6])
    with pytest.raises(TaskError, match=r"items_shuffle\.json\.gz cannot be read"):
        WebShopEnv(catalogue=str(tmp_path))


@pytest.mark.parametrize(
    ("human", "message"),
    [
        ({"B01": "text"}, "expected a list of objects"),
        ({"B01": [{"instruction": 7, "instruction_attributes": ["x"]}]}, "'instruction' must be text"),
        ({"B01": [{"instruction": "x", "instruction_attributes": "soft"}]}, "must be a list of texts"),
        ({"B01": [{"instruction": "x", "instruction_attributes": []}]}, "no human goal is about any of its 1"),
        ({}, "no human goal is about any of its 1"),
    ],
)
def test_bad_instructions_are_named(tmp_path: Path, human: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        WebShopEnv(catalogue=str(write(tmp_path, RECORD, human=human)))


def test_nothing_to_sell_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="none of 1 records is a product; the first: asin 'nan'"):
        WebShopEnv(catalogue=str(write(tmp_path, RECORD | {"asin": "nan"})))
    with pytest.raises(TaskError, match="no folder"):
        WebShopEnv(catalogue=str(tmp_path / "gone"))


def test_a_folder_below_ones_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_shop(make_shop("corner", 20), tmp_path / "shop", compress=False)
    assert len(open_source(WebShopConfig(catalogue="~/shop")).shop.catalogue) == 20
    with pytest.raises(TaskError) as caught:
        open_source(WebShopConfig(catalogue="~nobody-of-this-name/shop"))
    assert caught.value.code == "webshop_data"


def test_synthetic_goals_need_no_human_file(tmp_path: Path) -> None:
    folder = write(tmp_path, RECORD)
    (folder / "items_human_ins.json").unlink()
    goals = open_source(WebShopConfig(catalogue=str(folder), goals="synthetic")).goals
    said = sorted(goal.instruction.partition(", and price")[0] for goal in goals)
    assert said == ["find me soft shirts with size: 10 | 12", "find me soft shirts with size: xl"]


def test_a_users_shop_keeps_every_promise(tmp_path: Path) -> None:
    write_shop(make_shop("shelves", 120, seed=9), tmp_path, compress=False)
    report = check_agent_env("palaestra/WebShop-v0", seeds=(0,), catalogue=str(tmp_path), show_attrs=True)
    assert report.remarks == ()


def test_the_embedded_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    written = write_shop(make_shop("shelves", EMBEDDED_PRODUCTS), tmp_path)
    from palaestra.envs.webshop import generator

    shipped = Path(generator.__file__).parent / "data"
    for path in written:
        assert gzip.decompress(path.read_bytes()) == gzip.decompress((shipped / path.name).read_bytes())
    assert sum(path.stat().st_size for path in written) < 300_000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_shop(make_shop("corner", 3), tmp_path / "file")
