"""Resampling: the filter's sum, the ways to work it out, what they cost."""

import functools
import subprocess
import sys
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import tensorflow as tf
from test_decode_audio import one, pcm, tone

from mmkeras.decode import audio
from mmkeras.decode.audio import KAISER, PASSBAND, ZERO_CROSSINGS, resample
from mmkeras.schema import Audio

RANDOM = np.random.default_rng(0)
PAIRS = [
    (8000, 44100),
    (44100, 8000),
    (44100, 16000),
    (48000, 16000),
    (11025, 8000),
    (22050, 16000),
    (16000, 8000),
    (8000, 16000),
    (96000, 8000),
    (44100, 8001),
    (192000, 44100),
    (11025, 16000),
    (7, 5),
]
LITTLE_IN_COMMON = [(7999, 8000), (44100, 8003), (1, 8000), (2**31 - 1, 8000)]
NONE_LEFT_OUT = 2**31 - 1


@functools.cache
def compiled(wanted, most=NONE_LEFT_OUT):
    signature = [tf.TensorSpec([None]), tf.TensorSpec([], tf.int32)]
    return tf.function(
        lambda wave, rate: resample(wave, rate, wanted, most), input_signature=signature, autograph=False
    )


def noise(count):
    return RANDOM.uniform(-1, 1, count).astype("float32")


def plainly(sound, rate, wanted, outputs):
    """The sum of every sample times the window times the sinc, in double precision."""
    cutoff = min(1, wanted / rate) * (1 + PASSBAND) / 2
    half = ceil(ZERO_CROSSINGS / cutoff)
    found = []
    for output in outputs:
        distance = float(Fraction(int(output) * rate, wanted)) - np.arange(len(sound))
        near = np.abs(distance) < half
        distance = distance[near]
        window = np.i0(KAISER * np.sqrt(1 - (distance / half) ** 2)) / np.i0(KAISER)
        found.append((sound[near] * window * cutoff * np.sinc(cutoff * distance)).sum())
    return np.array(found)


def never(*_):
    raise AssertionError


@pytest.mark.parametrize(("rate", "wanted"), PAIRS + LITTLE_IN_COMMON)
@pytest.mark.parametrize("count", [0, 1, 2, 100, 3001])
def test_values_are_the_plain_sum(rate, wanted, count):
    sound = noise(count if rate > 1 else count % 10)
    found = compiled(wanted)(sound, rate).numpy()
    assert found.shape == (round(len(sound) * wanted / rate),)
    some = np.unique(np.linspace(0, len(found) - 1, 1000).astype(int)) if len(found) else []
    np.testing.assert_allclose(found[some], plainly(sound, rate, wanted, some), rtol=0, atol=2e-6)


def both(monkeypatch, sound, rate, wanted, most=NONE_LEFT_OUT):
    """By phases, and one by one, some outputs at a time."""
    found = []
    for weights, other in ((2**20, "_one_by_one"), (8000, "_by_phases")):
        with monkeypatch.context() as patch:
            patch.setattr(audio, "WEIGHTS", weights)
            patch.setattr(audio, other, never)  # eagerly, only the branch that is taken is called
            found.append(resample(tf.constant(sound), tf.constant(rate), wanted, most).numpy())
    return found


@pytest.mark.parametrize(("rate", "wanted"), PAIRS)
def test_both_ways_give_the_same(rate, wanted, monkeypatch):
    for most in (NONE_LEFT_OUT, 30, 1):
        phases, single = both(monkeypatch, noise(201), rate, wanted, most)
        assert len(phases) == min(round(201 * wanted / rate), most)
        np.testing.assert_allclose(phases, single, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("rate", "wanted"), LITTLE_IN_COMMON)
def test_rates_with_little_in_common_fall_back(rate, wanted, monkeypatch):
    monkeypatch.setattr(audio, "_by_phases", never)
    assert resample(tf.zeros(9), tf.constant(rate), wanted, 100).shape == (min(100, round(9 * wanted / rate)),)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (7999, 8000)])
def test_the_first_outputs_do_not_hang_on_how_many_are_asked_for(rate, wanted):
    sound = noise(3000)
    whole = compiled(wanted)(sound, rate).numpy()
    for most in (1, 100, 700):
        np.testing.assert_allclose(compiled(wanted, most)(sound, rate), whole[:most], rtol=0, atol=2e-6)


def test_in_data():
    sound = tf.constant(noise(500))
    rates = [7999, 8000, 11025, 44100]
    found = tf.data.Dataset.from_tensor_slices(rates).map(lambda rate: resample(sound, rate, 8000))
    for rate, values in zip(rates, found, strict=True):
        assert len(values) == round(500 * 8000 / rate)
        np.testing.assert_allclose(values, compiled(8000)(sound, rate), rtol=0, atol=2e-6)


@pytest.mark.parametrize("rate", [44100, 48000, 15999])
def test_a_minute_takes_little_memory(rate):
    """A filter of its own for every output would take gigabytes at once."""
    code = """
import resource, sys
import numpy as np
import tensorflow as tf
from mmkeras.decode.audio import resample
rate = int(sys.argv[1])
run = tf.function(lambda wave, rate: resample(wave, rate, 16000), autograph=False)
size = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
run(tf.zeros(10), tf.constant(rate))
wave = tf.zeros(60 * rate)
before = size()
assert run(wave, tf.constant(rate)).shape == (960000,)
print(size() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(rate)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert float(done.stdout) < 200


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 16000), (48000, 8000), (8000, 16000), (11025, 8000), (16000, 44100)]
)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.92])
def test_resampling_error_is_below_a_thousandth(rate, wanted, share):
    hertz = share * min(rate, wanted) / 2
    sound = np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate + 0.3).astype("float32")
    found = resample(tf.constant(sound), tf.constant(rate), wanted).numpy()
    assert len(found) == round(len(sound) * wanted / rate)
    expected = np.sin(2 * np.pi * hertz * np.arange(len(found)) / wanted + 0.3)
    inside = slice(wanted // 50, -wanted // 50)
    assert np.abs(found - expected)[inside].max() < 1e-3


def test_resampling_removes_what_the_new_rate_cannot_hold():
    sound = np.sin(2 * np.pi * 4300 * np.arange(12000) / 48000).astype("float32")
    assert np.abs(resample(tf.constant(sound), tf.constant(48000), 8000).numpy())[200:-200].max() < 1e-3


def test_a_file_of_another_rate_is_resampled():
    values, length = one(Audio(8000, 0.2), pcm(tone(4800, 16000), 16000))
    assert length == 1600
    np.testing.assert_allclose(values[100:], tone(1600, 8000)[100:], atol=1e-3)  # 0.3 s in the file: no edge at the end


def test_a_file_that_claims_a_rate_of_one_hertz_takes_no_more_memory_than_another():
    assert one(Audio(8000, 0.5, max_seconds=1e6), pcm(np.zeros(100_000), rate=1))[1] == 4000
