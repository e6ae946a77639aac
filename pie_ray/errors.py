"""Every error that pie_ray raises on purpose.

PieRayError
├── InputError (also a ValueError)   what the user gave us is wrong: the command line exits with 2
│   ├── RecipeError                  the recipe file or a --set override
│   ├── PolicyError                  the gate's policy: its file, or what it says of these results
│   ├── DataError                    an image set: names the file and the row
│   ├── StoreError                   a results folder that does not belong to this recipe, or is damaged
│   │   └── StorageError             the storage cannot be reached, is full or refuses: names the file and the cause
│   └── ModelError                   a network that cannot be built, or does not fit its input
├── NonFiniteLossError               training diverged: names the member, the epoch and the step
├── CompressionError                 a network did not reach the compression that was asked of it
├── TeamError                        processes that train one member together lost each other, or came to differ
└── SweepError                       members that kept failing: names each of them
"""

from __future__ import annotations

from .redaction import without_secrets


class PieRayError(Exception):
    """Base of all errors that carry a message meant for a person, without credentials of an address in it."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class InputError(PieRayError, ValueError):
    """Something that the user gave is wrong; the message says what was found and what is accepted."""


class RecipeError(InputError):
    """A recipe cannot be read or does not validate; lists every mistake at once."""


class PolicyError(InputError):
    """A gate's policy cannot be read, does not validate, or names what the results have not; lists every mistake."""


class DataError(InputError):
    """An image set is missing, empty or damaged; names the file and the row."""


class StoreError(InputError):
    """A results folder is damaged, or was made from another recipe or other data."""


class StorageError(StoreError):
    """The storage cannot be reached, is full or refuses; nothing is wrong with what lies on it."""


class ModelError(InputError):
    """A network cannot be built from its description, or does not fit its input."""


class NonFiniteLossError(PieRayError):
    """The training loss became infinite or NaN; raised before the update is applied."""


class CompressionError(PieRayError):
    """A network's measured compression differs from the one its variant asks for."""


class TeamError(PieRayError):
    """Processes that train one member together lost each other, or their weights came to differ."""


class SweepError(PieRayError):
    """Members of a sweep failed for good; the others are complete."""
