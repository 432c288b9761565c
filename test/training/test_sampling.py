import numpy as np

from training.faces import Settings, sample
from training.faces.hair import STYLES
from training.faces.head import trait_names
from training.faces.occluders import KINDS


def test_a_seed_gives_one_face():
    assert sample(np.random.default_rng(4)) == sample(np.random.default_rng(4))
    assert sample(np.random.default_rng(4)) != sample(np.random.default_rng(5))


def test_faces_vary_over_all_they_should():
    rng = np.random.default_rng(0)
    faces = [sample(rng, Settings(occluders=0.9)) for _ in range(500)]
    tones = [f.identity.skin.tone for f in faces]
    assert np.histogram(tones, 5, (0, 9))[0].min() > 50
    yaw = np.array([f.pose.yaw for f in faces])
    assert yaw.min() < -45
    assert yaw.max() > 45
    assert np.abs(yaw).max() <= 70
    assert max(abs(f.pose.pitch) for f in faces) <= 40
    assert {f.wear.hair.style for f in faces} == set(STYLES)
    assert {o.kind for f in faces for o in f.occluders} == set(KINDS)
    assert any(f.wear.glasses for f in faces)
    assert {f.wear.hat.style for f in faces if f.wear.hat} == {'cap', 'beanie', 'brim', 'scarf'}
    assert {f.identity.beard.style for f in faces} >= {'none', 'full', 'goatee', 'moustache'}
    assert {len(f.light.lamps) for f in faces} == {0, 1, 2, 3}
    assert any(f.identity.skin.age == 0 for f in faces)
    assert all(len(f.identity.traits) == len(trait_names()) for f in faces)


def test_settings_narrow_what_is_drawn():
    rng = np.random.default_rng(0)
    still = Settings(yaw=0.0, pitch=0.0, roll=0.0, shift=0.0, occluders=0.0, span=(300.0, 300.1))
    for _ in range(20):
        f = sample(rng, still)
        assert (f.pose.yaw, f.pose.pitch, f.pose.roll, f.camera.x, f.camera.y, f.occluders) == (0, 0, 0, 0.5, 0.5, ())
