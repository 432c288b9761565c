from dataclasses import replace

import numpy as np
import pytest

from training.faces import PERSONAS, Region, as_persona, persona, render, sample_identity, swapped
from training.faces.head import pose_face
from training.faces.parameters import Beard, Hair, Lamp, Light, Skin
from training.faces.rendering import FACE_REGIONS
from training.faces.skin import tone_colour

HEAD = {*FACE_REGIONS, Region.EAR, Region.NECK}


def test_the_same_parameters_give_the_same_picture(some):
    for p in some[:3]:
        one, other = render(p, 96), render(p, 96)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.landmarks, other.landmarks)


def test_a_picture_is_what_it_says(drawn):
    for r in drawn:
        assert r.image.shape == r.clean.shape == (128, 128, 3)
        assert r.image.dtype == np.uint8
        assert r.alpha.min() >= 0
        assert r.alpha.max() <= 1.0001
        assert np.isfinite(r.landmarks).all()
        assert np.isfinite(r.linear).all()


def test_face_and_regions_and_depth_agree(drawn):
    for r in drawn:
        person = r.region != Region.BACKGROUND
        assert np.array_equal(np.isfinite(r.depth), person)
        inside = np.isin(r.region, FACE_REGIONS)
        assert (r.face[~person & (r.alpha == 0)] == 0).all()
        assert r.face[inside].mean() > 0.9
        assert (r.mask <= r.alpha + 1e-3).all()
        assert r.mask[np.isin(r.region, [Region.CLOTH, Region.HAT, Region.GLASSES])].mean() < 0.5


def test_short_hair_and_beard_are_not_taken_for_skin(plain):
    wear = replace(plain.wear, hair=Hair(style='cropped', length=5.0))
    drawn = render(replace(plain, wear=wear, identity=replace(plain.identity, beard=Beard('full', 6.0, 1.0))), 256)
    y = round(float(drawn.landmarks[27, 1]))
    crown = drawn.region[: y - 75][np.isfinite(drawn.depth[: y - 75])]
    assert (crown == Region.HAIR).mean() > 0.97
    chin = drawn.landmarks[[6, 10]].mean(0).round().astype(int)
    assert drawn.region[chin[1] - 2, chin[0]] == Region.BEARD


def test_the_nose_is_nearest_and_the_ears_are_farther(drawn_plain):
    def depth(region):
        return np.median(drawn_plain.depth[drawn_plain.region == region])

    assert depth(Region.NOSE) < depth(Region.LIPS) < depth(Region.EAR)
    x, y = drawn_plain.landmarks[30].round().astype(int)
    assert drawn_plain.depth[y, x] == pytest.approx(drawn_plain.depth.min(), abs=1.5)


def test_normals_face_the_camera_and_are_those_of_the_depth(drawn_plain):
    inner = (drawn_plain.alpha == 1) & np.isin(drawn_plain.region, [Region.SKIN, Region.NOSE])
    length = np.linalg.norm(drawn_plain.normal[inner], axis=1)
    assert np.percentile(length, 5) > 0.97
    assert (drawn_plain.normal[inner, 2] > -0.05).mean() > 0.99
    # Where depth grows to the right, the surface faces right.
    mm = 320.0 / 256
    slope = np.gradient(drawn_plain.depth, mm, axis=1)
    flat = inner & (np.abs(slope) < 1.0)
    expected = slope[flat] / np.sqrt(1 + slope[flat] ** 2)
    assert np.corrcoef(expected, drawn_plain.normal[flat][:, 0])[0, 1] > 0.9


def test_the_mirror_image_is_drawn_mirrored(plain, turned):
    lamp = Lamp((0.5, 0.3, 0.8), (0.6, 0.5, 0.4), 0.3)
    other = replace(lamp, direction=(-0.5, 0.3, 0.8))
    ambient = plain.light.ambient
    one = turned(yaw=20, roll=8, light=Light(ambient, (lamp,)))
    two = turned(yaw=-20, roll=-8, light=Light(ambient, (other,)))
    assert np.abs(one.alpha - two.alpha[:, ::-1])[:190].mean() < 0.003
    face = (one.face > 0.99) & (two.face[:, ::-1] > 0.99)
    difference = np.abs(one.shaded - two.shaded[:, ::-1])[face]
    assert np.median(difference) < 0.01


def test_a_lamp_lights_its_own_side_and_casts_shadow(plain):
    dark = tuple((0.02, 0.02, 0.02) if k == 0 else (0.0, 0.0, 0.0) for k in range(9))
    right = render(replace(plain, light=Light(dark, (Lamp((1.0, 0.1, 0.25), (1.0, 1.0, 1.0), 0.1),))), 128)
    face = right.face > 0.9
    half = np.arange(128) < 64
    assert right.light[face & ~half].mean() > 4 * right.light[face & half].mean()
    above = render(replace(plain, light=Light(dark, (Lamp((0.0, 1.0, 0.2), (1.0, 1.0, 1.0), 0.1),))), 128)
    forehead = np.median(above.light[(above.region == Region.SKIN) & (np.arange(128)[:, None] < 45)])
    chin = above.light[above.region == Region.NECK].mean()
    assert forehead > 3 * chin


def test_the_chin_shades_the_neck(plain):
    dark = tuple((0.02, 0.02, 0.02) if k == 0 else (0.0, 0.0, 0.0) for k in range(9))
    drawn = render(replace(plain, light=Light(dark, (Lamp((0.0, 0.8, 0.6), (1.0, 1.0, 1.0), 0.1),))), 256)
    x, y = drawn.landmarks[8].round().astype(int)
    neck = (slice(y + 6, y + 16), slice(x - 15, x + 16))
    assert (drawn.region[neck] == Region.NECK).all()
    # The skin of the neck faces the lamp there.
    facing = drawn.normal[neck] @ np.array([0.0, 0.8, 0.6])
    assert np.median(facing) > 0.2
    assert np.median(drawn.light[neck]) < 0.5 * np.median(facing)


def test_albedo_follows_the_tone_of_the_skin_and_not_the_light(plain):
    last = 2.0
    for tone in (0, 2, 4, 6, 8, 9):
        identity = replace(plain.identity, skin=Skin(tone=tone, uneven=0.0, redness=0.0))
        bright = Light(((1.5, 1.5, 1.5),) + ((0.0, 0.0, 0.0),) * 8)
        one, other = (
            render(replace(plain, identity=identity), 96),
            render(replace(plain, identity=identity, light=bright), 96),
        )
        cheeks = (one.region == Region.SKIN) & (one.alpha == 1)
        albedo = np.median(one.albedo[cheeks], 0)
        assert np.allclose(albedo, tone_colour(tone), rtol=0.25)
        assert np.allclose(one.albedo, other.albedo, atol=1e-4)
        assert albedo.mean() < last
        last = albedo.mean()


def test_another_face_changes_nothing_but_the_head(some):
    rng = np.random.default_rng(2)
    for p in some[:5]:
        one, other = render(p, 128), render(swapped(p, sample_identity(rng)), 128)
        outside = ((one.alpha == 0) & (other.alpha == 0)) | (
            (one.region == Region.OCCLUDER) & (other.region == Region.OCCLUDER) & (one.alpha == 1) & (other.alpha == 1)
        )
        background = (one.alpha == 0) & (other.alpha == 0)
        assert np.allclose(one.linear[background], other.linear[background], atol=1e-6)
        assert outside.any()
        assert np.abs(one.linear - other.linear).max() > 0.05


@pytest.mark.parametrize('name', PERSONAS)
def test_a_persona_keeps_expression_and_pose(some, name):
    for p in some[:4]:
        one = render(p, 96)
        other = render(as_persona(p, name), 96)
        apart = np.linalg.norm(one.five[1] - one.five[0])
        if apart < 8:
            continue
        assert np.linalg.norm(one.landmarks[17:] - other.landmarks[17:], axis=1).mean() < 0.2 * apart
        assert replace(as_persona(p, name), identity=p.identity) == p


def test_a_persona_looks_like_itself(plain):
    colours = {}
    for name in PERSONAS:
        drawn = render(as_persona(plain, name, 1.0), 128)
        colours[name] = np.median(drawn.albedo[drawn.region == Region.SKIN], 0)
    assert colours['porcelain'].mean() > 8 * colours['obsidian'].mean()
    assert colours['jade'][1] > 1.3 * colours['jade'][0]


def test_likeness_goes_from_the_face_replaced_to_the_personas_own(plain):
    p = replace(plain, identity=replace(plain.identity, traits=tuple(0.5 for _ in plain.identity.traits)))
    assert as_persona(p, 'jade', 0.0).identity.traits == p.identity.traits
    own = as_persona(p, 'jade', 1.0).identity.traits
    assert own == persona('jade').traits
    assert len(set(own)) > 5


def test_porcelain_keeps_its_shape_in_a_picture_exposed_for_a_dark_face(plain):
    bright = replace(plain, sensor=replace(plain.sensor, exposure=6.0))
    drawn = render(as_persona(bright, 'porcelain'), 96)
    face = drawn.face == 1
    assert (drawn.image[face].min(1) > 250).mean() < 0.15


def test_a_backdrop_shows_where_nothing_stands_before_it(plain):
    backdrop = np.zeros((64, 64, 3), np.float32)
    backdrop[..., 1] = 0.5
    drawn = render(plain, 64, backdrop=backdrop)
    assert np.allclose(drawn.linear[drawn.alpha == 0], [0, 0.5, 0])


@pytest.mark.parametrize('supersample', [1.0, 1.5, 2.0, 3.0])
def test_finer_drawing_shows_the_same(plain, supersample):
    reference, drawn = render(plain, 128), render(plain, 128, supersample=supersample)
    assert np.abs(reference.linear - drawn.linear).mean() < 0.02
    assert np.abs(reference.landmarks - drawn.landmarks).max() < 1e-3
    assert (reference.region == drawn.region).mean() > 0.95


def test_open_and_closed_are_drawn_open_and_closed(plain):
    posed = pose_face(plain.identity.traits, plain.expression)
    assert posed.position.shape[1] == 3
    shut = render(replace(plain, expression=replace(plain.expression, closed_left=1.0, closed_right=1.0)), 256)
    opened = render(plain, 256)
    white = lambda r: ((r.region == Region.EYE) & (r.albedo.mean(2) > 0.2)).sum()  # noqa: E731
    assert white(opened) > 100
    assert white(shut) < 0.1 * white(opened)
