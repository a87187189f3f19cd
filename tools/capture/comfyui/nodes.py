"""The nodes: CTQ Record Inputs for a diffusion model, and for a text encoder."""

from __future__ import annotations

import os

from . import recordings

KEY = "ctq_record_inputs"
AS_LOADED = "(names as loaded)"
ROWS_TOOLTIP = (
    "Distinct rows kept of each input. 1024 take about 3 GB, in memory and on disk, for a Flux model."
)
TOO_OLD = "CTQ Record Inputs needs ComfyUI of December 2024 or newer (model wrappers and injections)"


def output_path(file_name: str) -> str:
    """<output>/calibration/<file_name>.safetensors; the name may have folders, but not lead out of there."""
    import folder_paths

    folder = os.path.join(os.path.abspath(folder_paths.get_output_directory()), "calibration")
    name = file_name.strip().removesuffix(".safetensors")
    path = os.path.abspath(os.path.join(folder, f"{name}.safetensors"))
    if not name or name.endswith(("/", "\\")) or os.path.commonpath([folder, path]) != folder:
        raise ValueError(f"CTQ Record Inputs: '{file_name}' is not a file name")
    return path


def checkpoint_choices(kinds: tuple[str, ...]) -> list[str]:
    """Files of those model folders, after the choice to use none."""
    import folder_paths

    known = [kind for kind in kinds if kind in folder_paths.folder_names_and_paths]
    return [
        AS_LOADED,
        *sorted(
            {
                name
                for kind in known
                for name in folder_paths.get_filename_list(kind)
                if name.endswith(".safetensors")
            }
        ),
    ]


def checkpoint_path(choice: str, kinds: tuple[str, ...]) -> str | None:
    if choice == AS_LOADED:
        return None
    import folder_paths

    for kind in kinds:
        if kind in folder_paths.folder_names_and_paths and (path := folder_paths.get_full_path(kind, choice)):
            return path
    raise ValueError(f"CTQ Record Inputs: no model file '{choice}'")


def settings_inputs(default_name: str, kinds: tuple[str, ...]) -> dict:
    file_name = {"default": default_name, "tooltip": "In the output folder, under calibration."}
    rows = {"default": 1024, "min": 64, "max": 65536, "step": 64, "tooltip": ROWS_TOOLTIP}
    record = {"default": True, "tooltip": "Off ends the recording; on again starts anew."}
    names_from = {"tooltip": "The file that you will convert, if its layers have other names than in memory."}
    return {
        "file_name": ("STRING", file_name),
        "rows": ("INT", rows),
        "record": ("BOOLEAN", record),
        "names_from": (checkpoint_choices(kinds), names_from),
    }


class RecordModelInputs:
    """Records a diffusion model while pictures are sampled with the model that this node returns."""

    CATEGORY = "advanced/quantization"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "record_inputs"
    FOLDERS = ("diffusion_models", "checkpoints")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), **settings_inputs("model", cls.FOLDERS)}}

    def record_inputs(self, model, file_name, rows, record, names_from=AS_LOADED):
        path = output_path(file_name)
        if not record:
            recordings.finish(path)
            return (model,)
        if not hasattr(model, "add_wrapper_with_key"):
            raise RuntimeError(TOO_OLD)
        recording = recordings.start(
            path,
            model.model.diffusion_model,
            {"rows": rows, "checkpoint": checkpoint_path(names_from, self.FOLDERS)},
        )
        patched = model.clone()

        def record_sampling(executor, *args, **kwargs):
            # The guider has the patcher that is really sampled: a later node may have cloned it.
            patcher = getattr(getattr(executor, "class_obj", None), "model_patcher", None) or patched
            recording.attach(patcher.model.diffusion_model, executor)
            try:
                return executor(*args, **kwargs)
            finally:
                recording.release(executor)

        patched.add_wrapper_with_key("outer_sample", KEY, record_sampling)
        return (patched,)


class RecordClipInputs:
    """Records text encoders, one file each, while prompts are encoded with the CLIP that it returns."""

    CATEGORY = "advanced/quantization"
    RETURN_TYPES = ("CLIP",)
    FUNCTION = "record_inputs"
    FOLDERS = ("text_encoders", "clip", "checkpoints")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip": ("CLIP",), **settings_inputs("clip", cls.FOLDERS)}}

    def record_inputs(self, clip, file_name, rows, record, names_from=AS_LOADED):
        encoders = text_encoders(clip.cond_stage_model)
        paths = {
            name: output_path(f"{file_name.strip().removesuffix('.safetensors')}_{name}") for name in encoders
        }
        if not record:
            for path in paths.values():
                recordings.finish(path)
            return (clip,)
        patched = clip.clone()
        if not hasattr(patched.patcher, "set_injections"):
            raise RuntimeError(TOO_OLD)
        from comfy.patcher_extension import PatcherInjection

        settings = {"rows": rows, "checkpoint": checkpoint_path(names_from, self.FOLDERS)}
        started = {
            name: recordings.start(paths[name], encoder, settings) for name, encoder in encoders.items()
        }

        def inject(patcher) -> None:
            for name, encoder in text_encoders(patcher.model).items():
                started[name].attach(encoder, patcher, picture_each_pass=True)

        def eject(patcher) -> None:
            for recording in started.values():
                recording.release(patcher)

        # Encoding has no wrappers; an injection is in place exactly while this clone is the loaded one.
        patched.patcher.set_injections(KEY, [PatcherInjection(inject=inject, eject=eject)])
        return (patched,)


def text_encoders(cond_stage_model) -> dict:
    """The networks within ComfyUI's text encoder, by its name for them ('clip_l', 't5xxl').

    Their layers are called as in the files they were loaded from.
    """
    found = {
        name: child.transformer
        for name, child in cond_stage_model.named_children()
        if hasattr(child, "transformer")
    }
    if not found and hasattr(cond_stage_model, "transformer"):
        found = {"encoder": cond_stage_model.transformer}
    return found or {"encoder": cond_stage_model}


NODE_CLASS_MAPPINGS = {"CTQRecordInputs": RecordModelInputs, "CTQRecordInputsCLIP": RecordClipInputs}
NODE_DISPLAY_NAME_MAPPINGS = {
    "CTQRecordInputs": "CTQ Record Inputs",
    "CTQRecordInputsCLIP": "CTQ Record Inputs (CLIP)",
}
