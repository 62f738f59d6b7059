"""The settings of a WebShop environment, shared by the single and the batched one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from palaestra.envs.core.config import Settings

SplitName = Literal["train", "valid", "test", "all"]
SPLITS = ("train", "valid", "test")


class WebShopConfig(Settings):
    """What `gymnasium.make("palaestra/WebShop-v0", ...)` accepts.

    Attributes:
        catalogue: "embedded", 1,000 products; "corner", a shop of few and short words for tiny policies; or a folder
            with the three files of the original (`files.py`).
        products: only the first so many.
        goals: "human", sentences as people write them; or "synthetic", one per combination of a product's options.
        split: of the goals to draw from.
        pool: draw from the first `pool` goals of the split only.
        obs: "text", the original's; "text_rich", line by line with buttons and choices marked; "text_plus", as text
            with a mark after chosen options and a short last page; "compact", few tokens; "html"; or "url".
        instruction: keep the instruction in the observation (it is always in `info["task"]`).
        labels: results are called and clicked by "id", as in the original, or by their "number" on the page.
        reward: "native", the score of what is bought; or "win10", 10 if that is 1.
        max_steps: actions after which the episode is truncated; no-ops count.
        page_size: results on a page; 10 is the original's.
        show_attrs: products have a page of attributes.
        tagger: what calls a word a noun: "rules", ours; or "spacy", the model en_core_web_sm if you have it.
        lucene_norms: round lengths of documents to a byte, as Lucene does.
        price_seed: of what the files leave open: prices within a range, and the limits that instructions name.
        oracle_info: add the distance to the goal to `info`.
    """

    catalogue: str = "embedded"
    products: int | None = Field(default=None, ge=1)
    goals: Literal["human", "synthetic"] = "human"
    split: SplitName = "train"
    pool: int | None = Field(default=None, ge=1)
    obs: Literal["text", "text_rich", "text_plus", "compact", "html", "url"] = "text"
    instruction: bool = True
    labels: Literal["id", "number"] = "id"
    reward: Literal["native", "win10"] = "native"
    max_steps: int = Field(default=15, ge=1)
    page_size: int = Field(default=10, ge=1, le=50)
    show_attrs: bool = False
    tagger: Literal["rules", "spacy"] = "rules"
    lucene_norms: bool = False
    price_seed: int = 0
    oracle_info: bool = False
