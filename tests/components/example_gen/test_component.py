import json

import pytest

from components.example_gen.component import span_examples, span_pattern

SCHEMA = 'feature { name: "user" type: INT }'


@pytest.mark.parametrize(
    ("directory", "pattern"),
    [("span-7", "span-{SPAN}/*"), ("span-07", "span-{SPAN:2}/*"), ("span-0", "span-{SPAN}/*"), ("s12", "s{SPAN}/*")],
)
def test_the_pattern_of_a_directory_names_the_width_of_a_padded_number(directory: str, pattern: str) -> None:
    assert span_pattern(directory) == pattern


def test_a_directory_without_a_number_has_no_pattern() -> None:
    with pytest.raises(ValueError, match="ends in its number"):
        span_pattern("spans")


def test_the_node_reads_one_span_and_splits_it_by_the_feature() -> None:
    node = span_examples("/data", 7, SCHEMA, "user", 5, files_pattern="span-{SPAN:2}/*")
    properties = node.exec_properties
    assert node.id == "ExampleGen-span-7"
    assert json.loads(properties["range_config"]) == {"static_range": {"start_span_number": 7, "end_span_number": 7}}
    assert json.loads(properties["input_config"])["splits"][0]["pattern"] == "span-{SPAN:2}/*"
    split_config = json.loads(properties["output_config"])["split_config"]
    assert split_config["partition_feature_name"] == "user"
    assert [(split["name"], split["hash_buckets"]) for split in split_config["splits"]] == [("train", 4), ("eval", 1)]
