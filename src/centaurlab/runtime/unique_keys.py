"""Keys of JSON and YAML that stand once each: of one that stands twice, libraries take the last in silence."""

from collections.abc import Sequence
from typing import Any

import yaml


def once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON that has these pairs (``object_pairs_hook``); ``ValueError`` where a key has two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        other = [key for key, value in pairs if value != found[key]]
        if other:
            raise ValueError(f"the key {other[0]!r} stands twice")
    return found


class OnceEachLoader(yaml.SafeLoader):
    """Reads YAML as ``yaml.safe_load`` does; ``yaml.YAMLError`` where a key stands twice."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """A mapping, whose keys are checked before others are merged into it (``<<``)."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            named = (key.tag, str(key.value))
            if named in seen and named[1] != "<<":
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(named)
        return node
