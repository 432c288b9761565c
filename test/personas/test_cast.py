import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.face import Face
from facefusion_ros.personas.cast import Cast

LANDMARKS = np.zeros((5, 2), np.float32)
REFERENCES = np.eye(2, 512, dtype=np.float32)


def face(track_id, width=100.0):
    return Face((0.0, 0.0, width, width), 0.9, LANDMARKS, track_id)


def tracks(cast, *ids, embed=None):
    """Track ids of the faces that are replaced, each with its persona, when these tracks are in view."""
    return {each.track_id: persona for each, persona in cast.choose([face(i) for i in ids], embed)}


class Eyes:
    """Sees on each face whom the test put there; counts how often each was looked at."""

    def __init__(self, **people):
        self.people = {int(key.removeprefix('t')): who for key, who in people.items()}
        self.asked = []

    def __call__(self, face):
        self.asked.append(face.track_id)
        who = self.people[face.track_id]
        if isinstance(who, Exception):
            raise who
        vector = np.zeros(512, np.float32)
        vector[who] = 1.0
        return vector


STRANGER = 9


def test_one_is_the_largest_and_then_the_same_while_it_is_in_view() -> None:
    cast = Cast('one', personas=3)
    assert tracks(cast, 4, 7) == {4: 0}
    assert tracks(cast, 7, 4) == {4: 0}
    assert tracks(cast, 7) == {7: 0}
    # The first is back, but now it is the other's turn.
    assert tracks(cast, 4, 7) == {7: 0}
    assert tracks(cast) == {}
    assert tracks(cast, 4, 7) == {4: 0}


def test_one_of_faces_that_are_nobody_in_particular_is_always_the_largest() -> None:
    cast = Cast('one')
    for _ in range(3):
        faces = [face(0, 90.0), face(0, 80.0)]
        ((chosen, persona),) = cast.choose(faces)
        assert (chosen, persona) == (faces[0], 0)


def test_many_get_the_next_persona_each_and_keep_it() -> None:
    cast = Cast('many', personas=2)
    assert tracks(cast, 5, 3) == {5: 0, 3: 1}
    assert tracks(cast, 8, 3, 5) == {5: 0, 3: 1, 8: 0}
    # Who is away keeps the persona for a while.
    assert tracks(cast, 8, 3) == {3: 1, 8: 0}
    assert tracks(cast, 8, 3, 6) == {3: 1, 8: 0, 6: 1}
    assert tracks(cast, 5) == {5: 0}


def test_a_track_that_is_long_gone_leaves_its_persona_to_others() -> None:
    cast = Cast('many', personas=2)
    assert tracks(cast, 1, 2) == {1: 0, 2: 1}
    for _ in range(90):
        assert tracks(cast, 1) == {1: 0}
    assert tracks(cast, 1, 3) == {1: 0, 3: 1}
    assert len(cast._tracks) == 2


def test_many_faces_of_a_still_get_all_personas_in_their_order() -> None:
    cast = Cast('many', personas=3)
    for _ in range(2):
        assert [persona for _, persona in cast.choose([face(0)] * 4)] == [0, 1, 2, 0]


def test_faces_beyond_the_most_are_the_smallest_but_none_loses_its_place() -> None:
    cast = Cast('many', max_faces=2)
    assert tracks(cast, 1, 2) == {1: 0, 2: 0}
    assert tracks(cast, 3, 1, 2) == {1: 0, 2: 0}
    assert tracks(cast, 3, 2) == {3: 0, 2: 0}
    cast.max_faces = 0
    assert tracks(cast, 3, 2) == {}


def test_fewer_personas_leave_no_face_without_one() -> None:
    cast = Cast('many', personas=3)
    assert tracks(cast, 1, 2, 3) == {1: 0, 2: 1, 3: 2}
    cast.personas = 2
    assert tracks(cast, 1, 2, 3) == {1: 0, 2: 1, 3: 0}
    cast.personas = 1
    assert tracks(cast, 1, 2, 3) == {1: 0, 2: 0, 3: 0}


views = st.lists(st.lists(st.integers(1, 6), unique=True, max_size=5), max_size=40)


@given(views, st.integers(1, 4), st.integers(0, 4), st.sampled_from(['one', 'many']))
def test_a_face_in_view_never_changes_its_persona_and_keeps_its_place(pictures, personas, most, selection) -> None:
    cast = Cast(selection, personas, max_faces=most)
    before = {}
    for ids in pictures:
        faces = [face(i) for i in ids]
        chosen = cast.choose(faces)
        now = {each.track_id: persona for each, persona in chosen}
        assert [each for each, _ in chosen] == [each for each in faces if each.track_id in now]
        assert len(now) == min(len(ids), 1 if selection == 'one' else 5, most)
        assert set(now.values()) <= set(range(personas))
        for track_id in before.keys() & set(ids):
            assert now[track_id] == before[track_id]
        before = now


@given(st.lists(st.integers(1, 50), unique=True, min_size=1, max_size=8), st.integers(1, 8))
def test_no_two_faces_share_a_persona_while_there_is_one_for_each(ids, personas) -> None:
    cast = Cast('many', personas, max_faces=8)
    chosen = list(tracks(cast, *ids).values())
    assert len(set(chosen)) == min(len(ids), personas)


@given(views, st.sampled_from(['one', 'many', 'identity']))
def test_tracks_that_are_gone_are_forgotten(pictures, selection) -> None:
    cast = Cast(selection, 2, references=REFERENCES)
    for ids in pictures:
        tracks(cast, *ids, embed=lambda _: REFERENCES[0])
    for _ in range(91):
        tracks(cast)
    assert not cast._tracks


def test_only_those_who_are_known_are_replaced_each_by_its_own_persona() -> None:
    cast, eyes = Cast('identity', 2, references=REFERENCES), Eyes(t1=1, t2=STRANGER, t3=0)
    assert tracks(cast, 1, 2, 3, embed=eyes) == {1: 1}
    assert tracks(cast, 1, 2, 3, embed=eyes) == {1: 1}
    assert tracks(cast, 1, 2, 3, embed=eyes) == {1: 1, 3: 0}
    assert eyes.asked == [1, 2, 3]


def test_with_one_persona_everyone_who_is_known_gets_it() -> None:
    cast, eyes = Cast('identity', 1, references=REFERENCES), Eyes(t1=1, t2=STRANGER, t3=0)
    for _ in range(3):
        result = tracks(cast, 1, 2, 3, embed=eyes)
    assert result == {1: 0, 3: 0}


def test_a_face_is_known_from_the_threshold_on() -> None:
    half = np.zeros(512, np.float32)
    half[[0, 5]] = 0.6, 0.8
    for threshold, known in ((0.59, {1: 0}), (0.61, {})):
        cast = Cast('identity', references=REFERENCES, threshold=threshold)
        assert tracks(cast, 1, embed=lambda _: half) == known


def test_the_recogniser_is_asked_seldom_once_all_is_known() -> None:
    """At most once in a picture; strangers ever more rarely, and those who are known now and then."""
    cast, eyes = Cast('identity', 2, references=REFERENCES), Eyes(t1=0, t2=STRANGER, t3=STRANGER)
    counts = []
    for _ in range(400):
        before = len(eyes.asked)
        assert tracks(cast, 1, 2, 3, embed=eyes).keys() <= {1}
        counts.append(len(eyes.asked) - before)
    assert max(counts) == 1
    asked = {i: eyes.asked.count(i) for i in (1, 2, 3)}
    assert asked[1] == 5
    assert 5 < asked[2] < 12
    assert abs(asked[2] - asked[3]) <= 1


def test_everyone_in_a_crowd_has_a_turn_before_anyone_has_a_second() -> None:
    cast, eyes = Cast('identity', references=REFERENCES), Eyes(**{f't{i}': STRANGER for i in range(1, 16)})
    for _ in range(15):
        tracks(cast, *range(1, 16), embed=eyes)
    assert sorted(eyes.asked) == list(range(1, 16))


def test_a_known_face_that_looks_away_stays_and_one_that_is_another_goes() -> None:
    cast, eyes = Cast('identity', 2, references=REFERENCES), Eyes(t1=0)
    assert tracks(cast, 1, embed=eyes) == {1: 0}
    eyes.people[1] = STRANGER
    # The check that it is still the same comes, and a second one soon after.
    while len(eyes.asked) < 2:
        assert tracks(cast, 1, embed=eyes) == {1: 0}
    while len(eyes.asked) < 3:
        last = tracks(cast, 1, embed=eyes)
        assert last == ({1: 0} if len(eyes.asked) < 3 else {})
    eyes.people[1] = 1
    while not tracks(cast, 1, embed=eyes):
        assert len(eyes.asked) < 10
    assert tracks(cast, 1, embed=eyes) == {1: 1}


def test_nobody_in_particular_is_asked_each_time() -> None:
    cast, eyes = Cast('identity', references=REFERENCES[:1]), Eyes(t0=0)
    for _ in range(3):
        assert len(cast.choose([face(0), face(0)], eyes)) == 2
    assert eyes.asked == [0] * 6
    eyes.people[0] = STRANGER
    assert not cast.choose([face(0)], eyes)


def test_a_face_without_a_pose_is_not_known_and_a_failing_network_is_told_once() -> None:
    cast, eyes = (
        Cast('identity', 2, references=REFERENCES),
        Eyes(t1=ValueError('no pose'), t2=EngineError('late'), t3=1),
    )
    assert tracks(cast, 1, 2, 3, embed=eyes) == {}
    with pytest.raises(EngineError, match='late'):
        tracks(cast, 1, 2, 3, embed=eyes)
    assert tracks(cast, 1, 2, 3, embed=eyes) == {3: 1}
    assert eyes.asked == [1, 2, 3]


def test_after_a_reset_nobody_is_known() -> None:
    cast, eyes = Cast('identity', 2, references=REFERENCES), Eyes(t1=1)
    tracks(cast, 1, embed=eyes)
    cast.reset()
    eyes.people[1] = STRANGER
    assert tracks(cast, 1, embed=eyes) == {}
