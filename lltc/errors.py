"""The one exception lltc raises on purpose: a sentence that says what to do."""


class InputError(ValueError):
    """An argument lltc cannot work with: the message names it, what came, what is allowed, what to do."""


class CheckpointError(InputError):
    """A checkpoint that cannot be read or does not fit; the message names the file and the reason."""
