from facefusion_ros.sensors.bus_load import bus_clock_hz


def test_the_clock_is_what_the_device_tree_says(tmp_path):
    node = tmp_path / 'i2c-1' / 'of_node'
    node.mkdir(parents=True)
    (node / 'clock-frequency').write_bytes((400_000).to_bytes(4, 'big'))
    assert bus_clock_hz('/dev/i2c-1', tmp_path) == 400_000
    link = tmp_path / 'motion'
    link.symlink_to('/dev/i2c-1')
    assert bus_clock_hz(str(link), tmp_path) == 400_000


def test_where_it_does_not_say_it_is_nought(tmp_path):
    assert bus_clock_hz('/dev/i2c-1', tmp_path) == 0
    assert bus_clock_hz('/dev/i2c-facefusion-sim', tmp_path) == 0
