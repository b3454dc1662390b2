"""Pairs come from the catalog, or from a table whose mistakes are named by line."""

import math
from pathlib import Path

import pytest

from centaurlab.catalog.pairs import ModelPair, model_pairs, named_pairs, pairs_of, single_pair
from centaurlab.runtime.errors import UserError


def table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_family_or_the_whole_catalog() -> None:
    assert named_pairs("llama3.2") == pairs_of("llama3.2")
    assert named_pairs("all") == model_pairs()


def test_the_catalogs_own_file_is_a_table_of_pairs() -> None:
    import centaurlab.catalog as catalog

    assert named_pairs(f"{catalog.__path__[0]}/model_pairs.csv") == model_pairs()


def test_two_columns_are_enough(tmp_path: Path) -> None:
    (pair,) = named_pairs(table(tmp_path, "base,post_trained\nruns/base, runs/chat\n"))
    assert (pair.base, pair.post_trained, pair.post_training, pair.family) == ("runs/base", "runs/chat", "", "")
    assert math.isnan(pair.size_b)


def test_further_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeffpost_trained,base,post_training,family,size_b\n"a, b",c,dpo,mine2,0.5\n'
    assert named_pairs(table(tmp_path, text)) == (ModelPair("a, b", "c", "dpo", "mine2", 0.5),)


def test_a_single_pair_belongs_to_no_group() -> None:
    pair = single_pair("base", "post")
    assert (pair.base, pair.post_trained, pair.post_training, pair.family) == ("base", "post", "", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("post_trained,model\na,b\n", "pairs.csv has no column 'base'"),
        ("post_trained,base,kind\na,b,c\n", "has a column 'kind'; there may be post_trained, base, post_training"),
        ("post_trained,base\na,b\nc,\n", "pairs.csv:3: no base; name a model"),
        ("post_trained,base\na,b,c\n", "pairs.csv:2: more values than columns"),
        ("post_trained,base\na,b\nx,b\na,b\n", "pairs.csv:4: this pair is listed before"),
        ("post_trained,base,size_b\na,b,7B\n", "pairs.csv:2: size_b is '7B'"),
        ("post_trained,base\n", "pairs.csv lists no pair"),
        ("", "pairs.csv has no column 'post_trained'"),
    ],
)
def test_a_mistake_in_a_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        named_pairs(table(tmp_path, text))


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read pairs from .*nowhere.csv"):
        named_pairs(str(tmp_path / "nowhere.csv"))
    (tmp_path / "pairs.csv").write_bytes(b"post_trained,base\n\xff\xfe,a\n")
    with pytest.raises(UserError, match="cannot read pairs"):
        named_pairs(str(tmp_path / "pairs.csv"))


def test_there_are_65_pairs_of_which_each_is_listed_once() -> None:
    pairs = model_pairs()
    assert len(pairs) == len({(pair.base, pair.post_trained) for pair in pairs}) == 65
    assert {pair.post_training for pair in pairs} == {"instruct", "reasoning", "vision", "code", "math"}
    assert not {pair.base for pair in pairs} & {pair.post_trained for pair in pairs}


def test_family_size_and_generation_are_those_of_the_base() -> None:
    by_name = {pair.post_trained: pair for pair in model_pairs()}
    distilled, vision = by_name["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"], by_name["Qwen/Qwen3-VL-32B-Thinking"]
    assert (distilled.family, distilled.size_b, distilled.generation) == ("qwen2.5", 7, 2.5)
    assert (vision.base, vision.family, vision.size_b) == ("Qwen/Qwen3-14B-Base", "qwen3", 14)
    assert by_name["meta-llama/Llama-3.2-1B-Instruct"].generation == 3.2
    assert math.isnan(ModelPair("b", "a", "", "mine", 1).generation)


@pytest.mark.parametrize("pair", model_pairs(), ids=lambda pair: pair.post_trained)
def test_a_size_is_the_one_in_the_name_of_the_base(pair: ModelPair) -> None:
    assert f"{pair.size_b:g}B" in pair.base.split("-")


def test_a_family_is_named_in_any_case() -> None:
    qwen3 = pairs_of("Qwen3")
    assert len(qwen3) == 13
    assert {pair.family for pair in qwen3} == {"qwen3"}


def test_an_unknown_family_is_answered_with_the_nearest_or_all() -> None:
    with pytest.raises(UserError, match="no family 'olmo'; did you mean 'olmo3'"):
        pairs_of("olmo")
    with pytest.raises(UserError, match=r"no family 'gpt'; there are: llama3, .*qwen3"):
        pairs_of("gpt")
