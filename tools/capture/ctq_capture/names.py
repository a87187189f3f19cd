"""Names of layers as the checkpoint has them, from names as the running module has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# What programs put before the names of a model when they wrap it. Longest first.
WRAPPERS = ("model.diffusion_model.", "diffusion_model.", "module.")

LayerShapes = dict[str, tuple[int, int]]  # module name -> (out_features, in_features)


def bare(module_name: str) -> str:
    """The name without what torch.compile and adapter libraries add to it."""
    return module_name.replace("_orig_mod.", "").removesuffix(".base_layer")


def with_prefix(names: Iterable[str], prefix: str | None) -> dict[str, str]:
    """Names in the checkpoint, `prefix` + name; a wrapper's prefix that all names share goes first.

    With None the names stay as they are. 'diffusion_model.blocks.0.ffn.0' becomes 'blocks.0.ffn.0' with an
    empty prefix. A missing dot at the end of the prefix is added.
    """
    names = list(names)
    if prefix is None:
        return {name: bare(name) for name in names}
    if prefix and not prefix.endswith("."):
        prefix += "."
    cut = next((len(w) for w in WRAPPERS if names and all(bare(n).startswith(w) for n in names)), 0)
    return {name: (prefix + bare(name)[cut:]).rstrip(".") for name in names}


def _leading_parts(name: str) -> list[str]:
    """Parts of a name that may be a prefix of the model: '' and every 'a.', 'a.b.' before the first number.

    A number is the index of a block: cutting behind it would take one block for another.
    """
    parts = [""]
    for component in name.split(".")[:-1]:
        if component.isdigit():
            break
        parts.append(parts[-1] + component + ".")
    return parts


class CheckpointNames:
    """Finds, for the layers of a module, their names in a checkpoint.

    A rule replaces one prefix by another ('diffusion_model.' -> 'model.diffusion_model.'). The rule that
    finds the most layers, with their shapes, is taken; then the next for what is left, as in a file that
    holds several text encoders, as long as it finds half of the layers under its prefix, and three.

    shapes  of all tensors of the checkpoint, by key
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        self._layers = {
            key[: -len(".weight")]: tuple(shape)
            for key, shape in shapes.items()
            if key.endswith(".weight") and len(shape) == 2
        }
        self._by_suffix: dict[str, list[str]] = {}
        for layer in self._layers:
            parts = layer.split(".")
            for i in range(len(parts)):
                self._by_suffix.setdefault(".".join(parts[i:]), []).append(layer)

    def match(self, layers: LayerShapes) -> tuple[dict[str, str], list[str]]:
        """Module name -> checkpoint name, and the module names that the checkpoint lacks, in their order."""
        left = {name: bare(name) for name in layers}
        found: dict[str, str] = {}
        taken: set[str] = set()
        while left:
            rules = self._votes(left, layers, taken)
            if not rules:
                break
            # Most layers first; then the least that is cut, the least that is added.
            (cut, added), votes = min(rules.items(), key=lambda r: (-r[1], len(r[0][0]), len(r[0][1]), r[0]))
            under = sum(name.startswith(cut) for name in left.values())
            if found and (votes < 3 or 2 * votes < under):
                break
            for name in list(left):
                target = added + left[name][len(cut) :]
                if (
                    left[name].startswith(cut)
                    and target not in taken
                    and self._layers.get(target) == layers[name]
                ):
                    found[name] = target
                    taken.add(target)
                    del left[name]
        return found, list(left)

    def _votes(self, left: dict[str, str], layers: LayerShapes, taken: set[str]) -> Counter:
        rules: Counter = Counter()
        for module_name, name in left.items():
            for cut in _leading_parts(name):
                suffix = name[len(cut) :]
                for layer in self._by_suffix.get(suffix, ()):
                    if layer not in taken and self._layers[layer] == layers[module_name]:
                        rules[cut, layer[: -len(suffix)]] += 1
        return rules
