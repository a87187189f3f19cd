"""A small diffusion transformer: its pictures and captions, its layers, its training."""
import itertools
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

WIDTH, HEADS, BLOCKS, TOKENS, CHANNELS = 256, 4, 6, 64, 64  # channels of a token: 2 x 2 places of 16 channels
TEXT_TOKENS, BATCH = 8, 16


# Pictures and captions

def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


COLOURS = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 0, -1], [0.3, -0.6, 1]])
SIZES = (2, 8, 6, 3, 3)  # how many sizes, colours, shapes, rows and columns a caption can name
CAPTIONS = torch.tensor(list(itertools.product(*map(range, SIZES))))[torch.randperm(math.prod(SIZES), generator=seeded(1))]
LIFT = torch.linalg.qr(torch.randn(16, 12, generator=seeded(2)))[0]


def draw(captions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Latents [n, 64, 64] of pictures of 32 x 32: the shape, a little off its place, on a random gradient of grey."""
    n = len(captions)
    size, colour, shape, row, column = captions.T
    axis = torch.linspace(-1, 1, 32)
    shift = 0.08 * torch.randn(2, n, generator=generator)
    radius = (torch.tensor([0.22, 0.36])[size] * (1 + 0.08 * torch.randn(n, generator=generator)))[:, None, None]
    y = (axis[:, None] - (0.55 * (row - 1) + shift[0])[:, None, None]) / radius
    x = (axis[None, :] - (0.55 * (column - 1) + shift[1])[:, None, None]) / radius
    x, y = torch.broadcast_tensors(x, y)
    r, wide, far = (x * x + y * y).sqrt(), x.abs(), y.abs()
    kinds = torch.stack([r, torch.maximum(wide, far), wide + far, (r - 0.7).abs() * 3, torch.maximum(torch.minimum(wide, far) * 3,
                         torch.maximum(wide, far)), torch.maximum(y, wide * 1.7 - 0.7 * y)])
    alpha = torch.sigmoid((1 - kinds[shape, torch.arange(n)]) * 8)[:, None]
    slope, grey = torch.randn(2, n, 1, 1, 1, generator=generator) * 0.3, torch.rand(n, 1, 1, 1, generator=generator) - 0.7
    ground = (grey + slope[0] * axis[:, None] + slope[1] * axis).expand(n, 3, 32, 32)
    picture = alpha * COLOURS[colour][:, :, None, None] + (1 - alpha) * ground
    latent = torch.einsum("cd,ndyx->ncyx", LIFT, F.pixel_unshuffle(picture, 2)) * 1.6
    return F.pixel_unshuffle(latent, 2).flatten(2).transpose(1, 2)


class TextEncoder:
    """Frozen and random: rows that depend on the whole caption, of channels unequally large, padding, and a pooled vector."""

    def __init__(self):
        g, words, flat = seeded(3), sum(SIZES), len(SIZES) * WIDTH
        self.first = torch.tensor([0, *itertools.accumulate(SIZES)][:-1])
        self.table = torch.randn(words + 1, WIDTH, generator=g)
        self.mix = torch.randn(flat, flat, generator=g) / flat ** 0.5
        self.pool = torch.randn(flat, WIDTH, generator=g) / flat ** 0.5
        self.gain = (0.8 * torch.randn(WIDTH, generator=g)).exp()

    def __call__(self, captions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        words = self.table[captions + self.first]
        flat = words.flatten(1)
        words = words + torch.tanh(flat @ self.mix).view_as(words)
        padding = self.table[-1].expand(len(words), TEXT_TOKENS - words.shape[1], WIDTH)
        return torch.cat([words, padding], 1) * self.gain, torch.tanh(flat @ self.pool) * self.gain


# The model

class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.out_layer(F.silu(self.in_layer(x)))


class Modulation(nn.Module):
    def __init__(self, parts: int):
        super().__init__()
        self.parts, self.lin = parts, nn.Linear(WIDTH, parts * WIDTH)

    def forward(self, vec):
        return self.lin(F.silu(vec))[:, None].chunk(self.parts, -1)


def unit(x):
    return F.rms_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Of x to itself, or to the caption."""

    def __init__(self, cross: bool):
        super().__init__()
        if cross:
            self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        else:
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.cross, self.proj = cross, nn.Linear(WIDTH, WIDTH)
        self.q_scale, self.k_scale = (nn.Parameter(torch.ones(WIDTH // HEADS)) for _ in "qk")

    def forward(self, x, text):
        q, k, v = (self.q(x), *self.kv(text).chunk(2, -1)) if self.cross else self.qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(unit(q) * self.q_scale, unit(k) * self.k_scale, v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, gated: bool):
        super().__init__()
        if gated:
            self.gate, self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        else:
            self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.gated = gated

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x)) if self.gated else self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def norm(x):
    return F.layer_norm(x, (WIDTH,))


class Block(nn.Module):
    def __init__(self, odd: bool):
        super().__init__()
        self.modulation, self.attn, self.mlp = Modulation(6), Attention(False), Mlp(not odd)
        if odd:
            self.cross_norm, self.cross = nn.LayerNorm(WIDTH), Attention(True)

    def forward(self, x, vec, text):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(vec)
        x = x + gate1 * self.attn(norm(x) * (1 + scale1) + shift1, None)
        if hasattr(self, "cross"):
            x = x + self.cross(self.cross_norm(x), text)
        return x + gate2 * self.mlp(norm(x) * (1 + scale2) + shift2)


class FinalLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.modulation, self.linear = Modulation(2), nn.Linear(WIDTH, CHANNELS)

    def forward(self, x, vec):
        shift, scale = self.modulation(vec)
        return self.linear(norm(x) * (1 + scale) + shift)


def waves(at: torch.Tensor, size: int, longest: float) -> torch.Tensor:
    angles = at[:, None] * torch.exp(-math.log(longest) * torch.arange(size // 2) / (size // 2))
    return torch.cat([angles.cos(), angles.sin()], -1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.img_in, self.txt_in = nn.Linear(CHANNELS, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.time_in, self.vector_in = Embedder(), Embedder()
        self.blocks = nn.ModuleList(Block(i % 2 == 1) for i in range(BLOCKS))
        self.final_layer = FinalLayer()
        place = waves(torch.arange(8.0), WIDTH // 2, 100.0)
        self.register_buffer("places", torch.cat([place.repeat_interleave(8, 0), place.repeat(8, 1)], -1), persistent=False)
        for name, p in self.named_parameters():
            if "modulation" in name or "final_layer" in name:
                nn.init.zeros_(p)

    def forward(self, x, t, text, pooled):
        """Velocity [n, 64, 64] at the times t [n], from 1 (noise) to 0."""
        vec = self.time_in(waves(1000 * t, WIDTH, 10000.0)) + self.vector_in(pooled)
        x, text = self.img_in(x) + self.places, self.txt_in(text)
        for block in self.blocks:
            x = block(x, vec, text)
        return self.final_layer(x, vec)


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def train(path: Path, steps: int, encoder: TextEncoder) -> None:
    torch.manual_seed(0)
    model, generator, start = Model(), seeded(4), time.monotonic()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    recent = 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
        captions = CAPTIONS[torch.randint(len(CAPTIONS), (BATCH,), generator=generator)]
        x0, noise = draw(captions, generator), torch.randn(BATCH, TOKENS, CHANNELS, generator=generator)
        t = torch.sigmoid(torch.randn(BATCH, generator=generator))
        mixed = torch.lerp(x0, noise, t[:, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            v = model(mixed, t, *encoder(captions))
        loss = F.mse_loss(v.float(), noise - x0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = loss.item() if step == 0 else 0.97 * recent + 0.03 * loss.item()
        if (step + 1) % 25 == 0:
            print(f"training: step {step + 1} of {steps}, loss {recent:.4f}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    save_file({name: p.to(torch.bfloat16).contiguous() for name, p in model.state_dict().items()}, path, metadata={"format": "pt"})
