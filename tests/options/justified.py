"""Where an option may leave everything as it is without a word, and why. Patterns are of "option (beside ...) | mode"."""

import re

REASONS = (
    (r"^(fp8 )?--no-resume", "shows in a second run: own_checks.py"),
    (r"^(fp8 )?--threads 2", "shows in the number of threads: own_checks.py"),
    (r"^(fp8 )?--low-memory", "lets no finished tensor wait: memory, not bytes"),
    (r"^(fp8 )?--progress (plain|none)", "shows on a terminal, or after ten seconds"),
    (r"^fp8 --(no-)?parallel", "as --threads"),
    (r"^--scaling_mode tensor \| fp8 tensor", "the type's own"),
    (r"^--custom-scaling-mode (block|block2d) ", "the type's own"),
    (r"^--quality good", "the default's name"),
    (r"^--scales absmax", "the format's own"),
    (r"^--names comfyui", "the default"),
    (r"^--bias-correction off \|", "nothing is corrected without recorded inputs, which is what is asked for"),
    (r"^--(custom|fallback)-simple .*\| (simple|rtn)$", "these are rounded to nearest anyway"),
    (r"^verify --no-values \|", "the verdict on a sound file is the same"),
)


class Reasons:
    """Which of them are met; what no pair needs any more is to go."""

    def __init__(self):
        self.met = set()

    def excuses(self, name: str) -> bool:
        hits = [i for i, (pattern, _) in enumerate(REASONS) if re.search(pattern, name)]
        self.met.update(hits)
        return bool(hits)

    def unused(self) -> list[str]:
        return [pattern for i, (pattern, _) in enumerate(REASONS) if i not in self.met]
