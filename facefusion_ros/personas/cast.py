"""Which persona each face gets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.faces.face import Face

Selection = Literal['one', 'many', 'identity']

# In pictures: how long a track that is out of view keeps its persona; after how many a face that nobody knew is looked
# at again, each time later, and one that was known is checked.
_KEPT = 90
_ASK_AGAIN = 10
_CHECK_AGAIN = 90

_DOUBTS = 2
"""A face that was known is given up when it was not recognised so many times running: it may have looked away."""


@dataclass(slots=True, eq=False)
class _Track:
    """What is known of one face over time; pictures are counted from 1."""

    seen: int = 0
    shown: int = -1
    """Last picture in which it was replaced."""
    persona: int | None = None
    reference: int | None = None
    """Whom it was recognised as."""
    asked: int = 0
    due: int = 0
    """When it is asked again who it is."""
    misses: int = 0
    """How many times running it was not recognised."""


class Cast:
    """Decides which persona each face gets, and remembers it for each track. Used by one thread.

    - ``one``: one face gets persona 0, the largest at first, then the same track for as long as it is in view.
    - ``many``: each track gets the persona that the fewest others have, and keeps it. One that is gone keeps it, too,
      for the next 90 pictures.
    - ``identity``: a face gets the persona of the reference that it is recognised as; with one persona, all known faces
      get that.

    A face with track id 0 is nobody in particular: it is chosen anew in each picture.
    """

    def __init__(
        self,
        selection: Selection,
        personas: int = 1,
        *,
        max_faces: int = 4,
        references: NDArray[np.floating] | None = None,
        threshold: float = 0.4,
    ) -> None:
        """Take the number of personas, and for ``identity`` the (N, 512) references, each of length 1."""
        self.selection = selection
        self.max_faces = max_faces
        """Faces that are replaced: those that were in the last picture, then the largest. May change at any time."""
        self.threshold = threshold
        """Least cosine between a face and whom it is recognised as. May change at any time."""
        self._personas = personas
        self._references = np.zeros((0, 512), np.float32) if references is None else references
        self.reset()

    def reset(self) -> None:
        """Forget all faces: those to come are not those that were, as where the ids begin anew."""
        self._tracks: dict[int, _Track] = {}
        self._picture = 0

    @property
    def personas(self) -> int:
        """How many there are; where there are fewer than before, the faces that had the others get new ones."""
        return self._personas

    @personas.setter
    def personas(self, number: int) -> None:
        self._personas = number
        for track in self._tracks.values():
            if track.persona is not None and track.persona >= number:
                track.persona = None

    def choose(
        self, faces: Sequence[Face], embed: Callable[[Face], NDArray[np.floating]] | None = None
    ) -> tuple[tuple[Face, int], ...]:
        """Return the faces of the next picture that are replaced, in the order given, each with its persona's number.

        ``faces``: largest first. ``embed`` gives a face's (512,) embedding of length 1 (``Recogniser.embedding``); it
        is called for ``identity`` alone, for one track in a picture at most and not in every one, and for each face
        with track id 0. What it raises goes on to the caller, but for ValueError: such a face is not recognised. The
        next call then turns to other faces.
        """
        self._picture += 1
        tracks = [self._tracks.setdefault(face.track_id, _Track()) if face.track_id else _Track() for face in faces]
        for track in tracks:
            track.seen = self._picture
        self._tracks = {key: track for key, track in self._tracks.items() if self._picture - track.seen <= _KEPT}

        candidates = list(range(len(faces)))
        if self.selection == 'identity':
            if embed is not None:
                self._recognise(faces, tracks, embed)
            candidates = [i for i in candidates if tracks[i].reference is not None]
        candidates.sort(key=lambda i: tracks[i].shown != self._picture - 1)
        chosen = sorted(candidates[: min(self.max_faces, 1) if self.selection == 'one' else self.max_faces])
        cast = tuple((faces[i], self._persona(tracks[i], tracks)) for i in chosen)
        for i in chosen:
            tracks[i].shown = self._picture
        return cast

    def _persona(self, track: _Track, here: Sequence[_Track]) -> int:
        if self.selection == 'one' or self._personas == 1:
            return 0
        if self.selection == 'identity':
            return track.reference or 0
        if track.persona is None:
            held = Counter(each.persona for each in {*self._tracks.values(), *here})
            track.persona = min(range(self._personas), key=lambda persona: held[persona])
        return track.persona

    def _recognise(
        self, faces: Sequence[Face], tracks: Sequence[_Track], embed: Callable[[Face], NDArray[np.floating]]
    ) -> None:
        """Ask who the faces are whose turn it is."""
        turn = [i for i, face in enumerate(faces) if not face.track_id]
        due = [i for i, face in enumerate(faces) if face.track_id and tracks[i].due <= self._picture]
        if due:  # those nobody knows first, then whoever was asked longest ago
            turn.append(min(due, key=lambda i: (tracks[i].reference is not None, tracks[i].asked)))
        for i in turn:
            track = tracks[i]
            track.asked, track.due = self._picture, self._picture + _ASK_AGAIN
            try:
                found = self._match(embed(faces[i]))
            except ValueError:  # no pose explains the landmarks
                found = None
            if found is not None:
                track.reference, track.misses, track.due = found, 0, self._picture + _CHECK_AGAIN
                continue
            track.misses += 1
            track.due = self._picture + min(_ASK_AGAIN * track.misses, _CHECK_AGAIN)
            if track.misses >= _DOUBTS:
                track.reference = None

    def _match(self, embedding: NDArray[np.floating]) -> int | None:
        """Return the most similar reference, where it is similar enough."""
        if not len(self._references):
            return None
        cosines = self._references @ embedding
        best = int(cosines.argmax())
        return best if cosines[best] >= self.threshold else None
