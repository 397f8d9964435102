"""The arithmetic and the plot of scripts/bench; the figures themselves are no test."""

import json
from xml.etree import ElementTree as ET

import pytest

from scripts.benchmarks.report import Ratio, Result, ratio, svg, text, write_json

RESULT = Result(
    "1 event <small>", "req/s", {"ours": [100, 300, 200], "other": [200, 100, 100]}, {"ours": {"p50 ms": 2.5}}
)


def test_a_ratio_is_of_figures_of_the_same_round():
    """The ratio of the medians would be 2 here too, but never show the round that was lost."""
    assert ratio([100, 300, 200], [200, 100, 100]) == Ratio(median=2, low=0.5, high=3)


def test_rounds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


def test_the_first_contender_is_set_against_every_other():
    assert Result("t", "s", {"a": [4], "b": [2], "c": [8]}).ratios() == {"b": Ratio(2, 2, 2), "c": Ratio(0.5, 0.5, 0.5)}


def test_the_lines_say_figures_ratio_and_spread():
    lines = text(RESULT).splitlines()

    assert lines[0] == "1 event <small>"
    assert "200 req/s" in lines[1]
    assert lines[1].endswith("p50 ms 2.5")
    assert "100 req/s" in lines[2]
    assert lines[2].endswith("2.00 [0.50-3.00]")


def test_the_file_has_every_round_and_the_ratios(tmp_path):
    write_json(tmp_path / "r.json", {"kernel": "Linux"}, [RESULT])

    found = json.loads((tmp_path / "r.json").read_text())
    assert found["kernel"] == "Linux"
    assert found["results"][0]["rounds"]["ours"] == [100, 300, 200]
    assert found["results"][0]["ratios"]["other"] == {"median": 2, "low": 0.5, "high": 3}


def test_the_plot_has_a_row_for_each_ratio_inside_its_frame():
    extreme = Result("extreme", "s", {"a": [1e9, 0], "b": [1, 1]})
    alone = Result("alone", "MiB", {"a": [1]})

    root = ET.fromstring(svg([RESULT, extreme, alone], "a < b"))

    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) == 2
    assert all(0 < float(dot.attrib["cx"]) < float(root.attrib["width"]) for dot in dots)
    assert all(0 < float(dot.attrib["cy"]) < float(root.attrib["height"]) for dot in dots)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1 event <small> / other", "extreme / b", "a < b"} <= set(texts)
