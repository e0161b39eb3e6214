"""What a log's proofs, notes and tiles can fail on; each message says what was claimed and found.

TlogError
├── RangeError              pieces of a tree do not fit together
├── ProofError              a proof proves nothing
│   ├── ProofShapeError     it has not the form that its index and sizes ask for
│   └── RootMismatchError   it leads to another root than the one claimed
├── NoteError               a signed note cannot be trusted
│   ├── MalformedNoteError  it is not a signed note at all
│   ├── MalformedKeyError   a key's text is damaged, or two keys claim one name and id
│   ├── BadSignatureError   a key that we trust did not make the signature in its name
│   └── UnsignedNoteError   no key that we trust has signed it
├── CheckpointError         the text of a checkpoint is not one
│   └── WrongOriginError    it is one of another log
└── TileError               a tile is damaged, or none can have such a place
"""


class TlogError(Exception):
    """Anything that a transparency log refuses."""


class RangeError(TlogError):
    """Pieces of a tree do not fit: a gap, an overlap, a wrong number or length of hashes."""


class ProofError(TlogError):
    """A proof does not show what it is held to show."""


class ProofShapeError(ProofError):
    """A proof, or what it is about, has not the form that its index and sizes ask for."""


class RootMismatchError(ProofError):
    """Everything has its form, and yet the hashes lead elsewhere: something was changed."""

    def __init__(self, what: str, *, claimed: bytes, computed: bytes) -> None:
        super().__init__(f"{what} is claimed as {claimed.hex()} but computes to {computed.hex()}")
        self.claimed = claimed
        self.computed = computed


class NoteError(TlogError):
    """A signed note cannot be made, or must not be believed."""


class MalformedNoteError(NoteError):
    """Not a signed note: nothing was verified."""


class MalformedKeyError(NoteError):
    """A key's text is damaged, or two keys claim the same name and id."""


class BadSignatureError(NoteError):
    """A signature bears the name and id of a trusted key, which did not make it for this text."""


class UnsignedNoteError(NoteError):
    """A well-formed note that no trusted key has signed."""


class CheckpointError(TlogError):
    """A text that is not a checkpoint, or values that no checkpoint can have."""


class WrongOriginError(CheckpointError):
    """A checkpoint, rightly signed, of another log than the one expected."""


class TileError(TlogError):
    """A tile has a wrong length, or no tile can have such a level, index or width."""
