"""The normalization rules inside a SentencePiece model."""

import collections

import numpy as np

_LABEL = 0x800000FF  # of a unit: the byte that leads to it; a unit with the highest bit is a leaf
_HAS_LEAF = 0x100
_LARGE_OFFSET = 0x200


def read_rules(charsmap: bytes) -> dict[str, str]:
    """What each string becomes; where several strings begin at a place, the longest decides.

    Args:
      charsmap: `normalizer_spec.precompiled_charsmap` of a model: the size in bytes of a double-array trie
        (as darts-clone makes it), its units, and the results with a zero byte after each. May be empty.
    """
    if not charsmap:
        return {}
    [size] = np.frombuffer(charsmap, "<u4", 1).tolist()
    units = np.frombuffer(charsmap, "<u4", size // 4, 4)
    results = charsmap[4 + size :]
    labels = units & _LABEL
    offsets = (units >> 10) << ((units & _LARGE_OFFSET) >> 6)
    children = collections.defaultdict(list)
    nodes = np.flatnonzero((labels > 0) & (labels < 256))
    for base, node, label in zip(
        (nodes ^ labels[nodes]).tolist(), nodes.tolist(), labels[nodes].tolist(), strict=True
    ):
        children[base].append((node, bytes([label])))
    rules = {}
    found = [(int(offsets[0]), b"")]
    while found:
        base, prefix = found.pop()
        for node, label in children[base]:
            key = prefix + label
            below = node ^ int(offsets[node])
            found.append((below, key))
            if units[node] & _HAS_LEAF:
                begin = int(units[below]) & 0x7FFFFFFF
                rules[key.decode()] = results[begin : results.index(b"\0", begin)].decode()
    return rules
