#!/usr/bin/env python3
"""Prints src/plan/presets_data.cpp: the layer presets of a model_filters.json as C++ tables.

    python3 tools/make_presets.py path/to/model_filters.json > src/plan/presets_data.cpp
"""
import json
import re
import sys

WIDTH = 110
LISTS = ("exclude", "highprec", "remove")


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def pascal(name):
    return "".join(part[:1].upper() + part[1:] for part in name.replace("-", "_").split("_"))


def wrapped(items, indent):
    """The items, separated by commas, in lines of at most WIDTH columns."""
    lines, line = [], indent
    for item in items:
        word = item + ","
        if line != indent and len(line) + 1 + len(word.split("\n")[0]) > WIDTH:
            lines.append(line)
            line = indent
        line += word if line == indent else " " + word
    return lines + [line]


def text_literal(text, indent):
    """A string literal, cut after spaces and bars into adjacent ones where it is too long for a line."""
    limit = WIDTH - len(indent) - 3
    parts = [""]
    for piece in re.split(r"(?<=[ |])", text):
        if parts[-1] and len(quoted(parts[-1] + piece)) > limit:
            parts.append("")
        parts[-1] += piece
    return ("\n" + indent).join(quoted(part) for part in parts)


class Tables:
    """Constant arrays, each distinct content once, named after the first that uses it."""

    def __init__(self):
        self.names = {}
        self.lines = []

    def add(self, name, element, items):
        key = (element, tuple(items))
        if key in self.names:
            return self.names[key]
        if name in self.names.values():
            raise SystemExit(f"two different lists want the name {name}")
        self.names[key] = name
        head = f"constexpr {element} {name}[] = {{"
        one_line = head + ", ".join(items) + "};"
        self.lines += [one_line] if len(one_line) <= WIDTH else [head, *wrapped(items, "    "), "};"]
        return name


def variant_fields(tables, preset, variant):
    """.exclude = kList, ... of the seed's or peer's lists; empty lists are left out."""
    other = "" if variant == "seed" or not preset["seed"] else "Peer"
    fields = []
    for which in LISTS:
        patterns = preset[variant][which]
        if patterns:
            name = tables.add(f"k{pascal(preset['name'])}{pascal(which)}{other}", "std::string_view",
                              [quoted(pattern) for pattern in patterns])
            fields.append(f".{which} = {name}")
    return fields


def preset_rows(tables, preset):
    indent = " " * 5
    rows = [f".name = {quoted(preset['name'])}"]
    rows.append(".help =\n" + indent + "    " + text_literal(preset["help"], indent + "    "))
    rows.append(f".category = {quoted(preset['category'])}")
    if preset["seed"] is not None:
        rows.append(".from_seed = true")
    if preset["text_encoder"]:
        rows.append(".text_encoder = true")
    if "alias_for" in preset:
        rows.append(f".alias_for = {quoted(preset['alias_for'])}")
    elif preset.get("exclude_final_language_layer"):
        rows.append(".exclude_final_language_layer = true")
    if "preserve_dtype" in preset and "alias_for" not in preset:
        pairs = [f"{{{quoted(dtype)}, {text_literal(expression, ' ' * len(f'    {{{quoted(dtype)}, '))}}}"
                 for dtype, expressions in preset["preserve_dtype"].items() for expression in expressions]
        name = tables.add(f"k{pascal(preset['name'])}PreserveDtype", "PreservedDtype", pairs)
        rows.append(f".preserve_dtype = {name}")
    for variant in ("seed", "peer"):
        if preset[variant] is not None:
            fields = ", ".join(variant_fields(tables, preset, variant))
            rows.append(f".{variant} = PatternLists{{{fields}}}")
    return "    {" + (",\n" + indent).join(rows) + "},"


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)

    tables = Tables()
    for variant, name in (("seed", "kBaseAvoid"), ("peer", "kBaseAvoidPeer")):
        tables.add(name, "std::string_view", [quoted(pattern) for pattern in data["base_avoid"][variant]])
    rows = [preset_rows(tables, preset) for preset in data["filters"]]
    categories = [f"    {{{quoted(key)}, {quoted(heading)}}}," for key, heading in data["categories"].items()]
    seed, peer = (data["sources"][variant].split(",")[0] for variant in ("seed", "peer"))

    print(f"""\
// The layer presets as tables. Printed by tools/make_presets.py: change that, or its input, not this file.
//
// The pattern lists are those of {seed} (`seed`) and
// {peer} (`peer`).
#include "ctq/plan/presets.h"

// clang-format off
namespace ctq::plan {{
namespace {{
""")
    print("\n".join(tables.lines))
    print("\nconstexpr Preset kPresets[] = {")
    print("\n".join(rows))
    print("};\n\nconstexpr PresetCategory kCategories[] = {")
    print("\n".join(categories))
    print("""};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

std::span<const PresetCategory> preset_categories() { return kCategories; }

}  // namespace ctq::plan""")


if __name__ == "__main__":
    main()
