"""Recordings under way in this ComfyUI process: one per file, written when the model pauses."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref

from torch import nn

from ctq_capture import Recorder

log = logging.getLogger("ctq_capture")

PAUSE_SECONDS = 3.0  # of silence after which a recording is written
LONGEST_UNSAVED_SECONDS = 60.0  # ... and at the latest, between two passes, when there is no silence


class Recording:
    """A recorder and its file, which is written soon after the model pauses and when the process ends."""

    def __init__(self, path: str, settings: dict):
        self.path, self.settings = path, settings
        self.recorder = Recorder(hessian_device="cpu", source=os.path.basename(path), **settings)
        self._holder: weakref.ref | None = None
        self._save_hook = None
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._unsaved_since: float | None = None
        self._saved_samples = 0

    def attach(self, module: nn.Module, holder: object, *, save_each_pass: bool = False) -> None:
        """Records the module until `holder` releases it, in place of what was recorded before."""
        self._stop()
        self.recorder.attach(module)
        self._holder = weakref.ref(holder)
        if save_each_pass:
            self._save_hook = module.register_forward_hook(lambda *_: self.save_soon())

    def release(self, holder: object) -> None:
        """Ends what `holder` began. ComfyUI may eject one clone of a model after it has injected another."""
        if self._holder is not None and self._holder() is holder:
            self._stop()
            self.save_soon()

    def _stop(self) -> None:
        self.recorder.detach()
        if self._save_hook is not None:
            self._save_hook.remove()
        self._holder = self._save_hook = None

    def save_soon(self) -> None:
        with self._lock:
            if self.recorder.samples == self._saved_samples:
                return
            now = time.monotonic()
            if self._unsaved_since is None:
                self._unsaved_since = now
            if self._timer is not None:
                self._timer.cancel()
            if now - self._unsaved_since >= LONGEST_UNSAVED_SECONDS:
                self.save()
                return
            self._timer = threading.Timer(PAUSE_SECONDS, self.save)
            self._timer.daemon = True
            self._timer.start()

    def save(self) -> None:
        """Writes what is new. An error is logged: it must not cost the picture that is being made."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._unsaved_since is None:
                return
            try:
                self.recorder.save(self.path)
                self._unsaved_since, self._saved_samples = None, self.recorder.samples
            except (OSError, ValueError) as error:
                log.error("CTQ recording not written: %s: %s", self.path, error)


_recordings: dict[str, Recording] = {}


def start(path: str, module: nn.Module, settings: dict) -> Recording:
    """The recording of a file: the one under way, or a new one when settings or layers are others.

    So pictures made after a change elsewhere in the workflow are added to those before.
    throws  ValueError when the module has no linear layer, OSError when the folder cannot be made
    """
    recording = _recordings.get(path)
    if recording is not None and recording.settings == settings:
        try:
            recording.recorder.prepare(module)
            return recording
        except ValueError:
            log.info("CTQ: another model, starting anew: %s", path)
    finish(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    recording = Recording(path, settings)
    recording.recorder.prepare(module)
    if os.path.exists(path):
        log.warning("CTQ: %s is from an earlier recording and will be replaced", path)
    _recordings[path] = recording
    return recording


def finish(path: str) -> None:
    """Ends the recording of a file, if there is one: a later one of that name starts anew."""
    recording = _recordings.pop(path, None)
    if recording is not None:
        recording.save()


@atexit.register
def _finish_all() -> None:
    for path in list(_recordings):
        finish(path)
