"""A stand-in for the parts of ComfyUI that the nodes touch, with the same rules.

Model: a patcher around a module; clones share the module and copy wrappers, injections and the flag that says
they are in place. Sampling collects the `outer_sample` wrappers of the patcher that is sampled and calls them
around the sampler, each with an executor that calls the next one. Injections are put in place when a clone is
loaded, and removed when another clone of the same module takes its place. CLIP: no wrappers; the encoder's
networks are called directly.
"""

import sys
import types
from contextlib import contextmanager

import torch
from torch import nn


class PatcherInjection:
    def __init__(self, inject, eject):
        self.inject, self.eject = inject, eject


class Patcher:
    loaded = {}  # id of the module -> the clone that is loaded

    def __init__(self, model):
        self.model, self.wrappers, self.injections, self.is_injected = model, {}, {}, False

    def clone(self):
        other = Patcher(self.model)
        other.wrappers = {
            kind: {key: list(w) for key, w in keyed.items()} for kind, keyed in self.wrappers.items()
        }
        other.injections = {key: list(i) for key, i in self.injections.items()}
        other.is_injected = self.is_injected
        return other

    def add_wrapper_with_key(self, kind, key, wrapper):
        self.wrappers.setdefault(kind, {}).setdefault(key, []).append(wrapper)

    def set_injections(self, key, injections):
        self.injections[key] = injections

    def load(self):
        before = Patcher.loaded.get(id(self.model))
        if before is self:
            return
        if before is not None:
            before.eject()
        Patcher.loaded[id(self.model)] = self
        self.eject()  # with the flag copied from a clone, this ejects what that clone has injected
        for injection in self._all_injections():
            injection.inject(self)
            self.is_injected = True

    def eject(self):
        if self.is_injected:
            for injection in self._all_injections():
                injection.eject(self)
            self.is_injected = False

    def _all_injections(self):
        return [i for injections in self.injections.values() for i in injections]


class Executor:
    def __init__(self, original, class_obj, wrappers):
        self.original, self.class_obj, self.wrappers = original, class_obj, wrappers

    def __call__(self, *args, **kwargs):
        return Executor(self.original, self.class_obj, self.wrappers[1:]).execute(*args, **kwargs)

    def execute(self, *args, **kwargs):
        if not self.wrappers:
            return self.original(*args, **kwargs)
        return self.wrappers[0](self, *args, **kwargs)


class Guider:
    """Samples: calls the model `steps` times, under inference mode, as ComfyUI runs every node."""

    def __init__(self, patcher, steps):
        self.model_patcher, self.steps = patcher, steps

    def sample(self, latent):
        wrappers = [
            w for keyed in self.model_patcher.wrappers.get("outer_sample", {}).values() for w in keyed
        ]
        with torch.inference_mode():
            return Executor(self.outer_sample, self, wrappers).execute(latent, seed=0)

    def outer_sample(self, latent, seed):
        self.model_patcher.load()
        for _ in range(self.steps):
            latent = self.model_patcher.model.diffusion_model(latent)
        return latent


class BaseModel(nn.Module):
    def __init__(self, diffusion_model):
        super().__init__()
        self.diffusion_model = diffusion_model


class TextEncoder(nn.Module):
    """One of the encoders: the network is its `transformer`."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, tokens):
        return self.transformer(tokens)


class CondStageModel(nn.Module):
    def __init__(self, **encoders):
        super().__init__()
        for name, transformer in encoders.items():
            self.add_module(name, TextEncoder(transformer))

    def encode_token_weights(self, tokens):
        return [encoder(tokens) for encoder in self.children()]


class Clip:
    def __init__(self, cond_stage_model):
        self.cond_stage_model, self.patcher = cond_stage_model, Patcher(cond_stage_model)

    def clone(self):
        other = Clip.__new__(Clip)
        other.cond_stage_model, other.patcher = self.cond_stage_model, self.patcher.clone()
        return other

    def encode_from_tokens(self, tokens):
        self.patcher.load()
        with torch.inference_mode():
            return self.cond_stage_model.encode_token_weights(tokens)


@contextmanager
def installed(output_folder, model_files):
    """The modules that the nodes import. model_files: paths by folder kind and file name; may change."""
    folder_paths = types.ModuleType("folder_paths")
    folder_paths.folder_names_and_paths = model_files
    folder_paths.get_output_directory = lambda: output_folder
    folder_paths.get_filename_list = lambda kind: list(model_files[kind])
    folder_paths.get_full_path = lambda kind, name: model_files[kind].get(name)
    comfy, extension = types.ModuleType("comfy"), types.ModuleType("comfy.patcher_extension")
    extension.PatcherInjection = PatcherInjection
    comfy.patcher_extension = extension
    modules = {"folder_paths": folder_paths, "comfy": comfy, "comfy.patcher_extension": extension}
    sys.modules.update(modules)
    try:
        yield
    finally:
        Patcher.loaded.clear()
        for name in modules:
            del sys.modules[name]
