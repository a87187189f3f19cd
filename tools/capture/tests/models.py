"""Small modules that are called, and call their layers, as the real ones do."""

import torch
from torch import nn


class Attention(nn.Module):
    """q, k and v of one tensor, then the output projection."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        x = self.norm(x)
        return self.o(torch.softmax(self.q(x) @ self.k(x).transpose(-1, -2), -1) @ self.v(x))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attn, self.norm = Attention(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        x = x + self.attn(x)
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.norm(x))))


class Transformer(nn.Module):
    def __init__(self, width=16, depth=2):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def tower(layers):
    """A module with linear layers of these dotted names and (out, in) shapes, not meant to be called."""
    root = nn.Module()
    for name, (out_features, in_features) in layers.items():
        *path, last = name.split(".")
        parent = root
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent._modules[part]
        parent.add_module(last, nn.Linear(in_features, out_features, bias=False))
    return root


def example():
    """For the command line: a module and its batches, one of each kind that is accepted."""
    torch.manual_seed(0)
    return Transformer(), [torch.randn(2, 5, 16), (torch.randn(2, 5, 16),), {"x": torch.randn(2, 5, 16)}]


def example_run():
    torch.manual_seed(0)
    return Transformer(), lambda module: module(torch.randn(4, 5, 16))


class Conditioned(nn.Module):
    """As a diffusion model: the text is the same in all steps, the time step is one row."""

    def __init__(self):
        super().__init__()
        self.img_in, self.txt_in, self.time_in = nn.Linear(8, 8), nn.Linear(6, 8), nn.Linear(4, 8)

    def forward(self, image, text, time):
        return self.img_in(image) + self.txt_in(text).mean(-2, keepdim=True) + self.time_in(time)


def steps_of(picture, count=4, rows=32):
    """What Conditioned is called with in the steps of one picture."""
    generator = torch.Generator().manual_seed(picture)
    text = torch.randn(rows, 6, generator=generator)
    for step in range(count):
        time = torch.full((1, 4), 1.0 - step / count)
        yield torch.randn(rows, 8, generator=generator), text, time


def pipeline():
    """For the command line: a run that says where its pictures begin."""

    def run(module, recorder):
        for picture in range(2):
            recorder.begin_picture()
            for step in steps_of(picture):
                module(*step)

    return Conditioned(), run


def no_layers():
    return nn.Identity(), []


def nothing_called():
    return Transformer(), []


def raises():
    raise RuntimeError("no such weights\nin the folder")


def wrong():
    return 3


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, input, attention_mask):
        return self.fc(input)


def padded():
    """Rows of padding hold sevens."""
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    x = torch.where(mask[..., None].bool(), 1.0, 7.0).expand(2, 3, 4).clone()
    return Padded(), [{"input": x, "attention_mask": mask}]
