"""Where an option may leave everything as it is without a word, and why. Patterns are of "option (beside ...) | mode"."""

import re

REASONS = (
    (r"^(fp8 )?--no-resume", "shows in a second run: own_checks.py"),
    (r"^(fp8 )?--threads 2", "shows in the number of threads: own_checks.py"),
    (r"^(fp8 )?--low-memory", "lets no finished tensor wait: memory, not bytes"),
    (r"^(fp8 )?--progress (plain|none)", "shows on a terminal, or after ten seconds"),
    (r"^(fp8 )?--progress json \| dry run", "a dry run reads headers, and is done at once"),
    (r"^fp8 -v \| dry run", "a dry run prints every tensor anyway"),
    (r"^fp8 --(no-)?parallel", "as --threads"),
    (r"^--scaling_mode tensor \| fp8 tensor", "the type's own"),
    (r"^--custom-scaling-mode (block|block2d) ", "the type's own"),
    (r"^--quality good", "the default's name"),
    (r"^--scales absmax", "the format's own"),
    (r"^--names comfyui", "the default"),
    (r"^--damping auto", "the default"),
    (r"^--bias-correction off \|", "nothing is corrected without recorded inputs, which is what is asked for"),
    (r"^--scaling_mode axis \| (fp8 row|w4a4)", "a scale per row, which that format has anyway"),
    (r"^--convrot \| w4a[48]", "these are always rotated"),
    (r"^--custom-scaling-mode row .*\| int8 row", "that of --scaling_mode, which they have anyway"),
    (r"^--no-gptq-fast \| (gptq|layer config, optimizers)", "the same sums in another order, which may round alike"),
    (r"^batch (--jobs 2|-y|--no-keep-going) \| lines", "about running the conversions, which are printed here"),
    (r"^verify --no-values \|", "the verdict on a sound file is the same"),
)

# Faults of the program that are known: silent, or refused without the option's name. Each is to be mended, and to go from here.
OPEN: tuple[tuple[str, str], ...] = ()


class Reasons:
    """Which of them are met; what no pair needs any more is to go."""

    def __init__(self, reasons: tuple[tuple[str, str], ...]):
        self.reasons, self.met = reasons, set()

    def excuses(self, name: str) -> bool:
        hits = [i for i, (pattern, _) in enumerate(self.reasons) if re.search(pattern, name)]
        self.met.update(hits)
        return bool(hits)

    def unused(self) -> list[str]:
        return [pattern for i, (pattern, _) in enumerate(self.reasons) if i not in self.met]
