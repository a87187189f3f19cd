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
        self._unfinished = False  # the file has no summary yet

    def attach(self, module: nn.Module, holder: object, *, picture_each_pass: bool = False) -> None:
        """Records the module until `holder` releases it, in place of what was recorded before.

        That is one picture, whose passes are its steps; or, with `picture_each_pass`, every pass is one.
        """
        self._stop()
        self.recorder.attach(module)
        self.recorder.begin_picture()
        self._holder = weakref.ref(holder)

        def after_pass(*_) -> None:
            if picture_each_pass:
                self.recorder.begin_picture()
                self.save_soon()
            else:
                self.save_if_due()

        self._save_hook = module.register_forward_hook(after_pass)

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

    def save_if_due(self) -> bool:
        """Writes when the oldest pass that is not in the file is a minute old; for use between two passes."""
        with self._lock:
            if self._timer is not None:  # the model does not pause
                self._timer.cancel()
                self._timer = None
            now = time.monotonic()
            if self._unsaved_since is None and self.recorder.samples != self._saved_samples:
                self._unsaved_since = now
            due = self._unsaved_since is not None and now - self._unsaved_since >= LONGEST_UNSAVED_SECONDS
            if due:
                self.save(final=False)
            return due

    def save_soon(self) -> None:
        with self._lock:
            self.save_if_due()
            if self._unsaved_since is None and not self._unfinished:
                return
            self._timer = threading.Timer(PAUSE_SECONDS, self.save)
            self._timer.daemon = True
            self._timer.start()

    def save(self, final: bool = True) -> None:
        """Writes what is new; `final`: with the summary. An error is logged: it must not cost the picture."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._unsaved_since is None and not (final and self._unfinished):
                return
            try:
                self.recorder.save(self.path, final=final)
                self._unsaved_since, self._saved_samples = None, self.recorder.samples
                self._unfinished = not final
            except (OSError, ValueError) as error:
                # At most once a minute, should the disk stay full during a long run.
                self._unsaved_since = time.monotonic()
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
