"""Both builds of the codec do the same: the compiled one and the Python source that it was made of.

The same random bytes, cut at the same random places, go through both; what comes out must be equal to the last byte,
error texts and ``buffered`` included.  The Python source is loaded by its path under another name, so that both live
in one process.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from wsfactory import _codec, _payload
from wsfactory.errors import ProtocolError

pytestmark = pytest.mark.skipif(not _codec.COMPILED, reason="only the pure build is installed: nothing to compare")


def load_pure() -> ModuleType:
    """Return the codec as the Python source that lies beside the compiled module."""
    source = Path(_codec.__file__).with_name("_codec.py")
    spec = importlib.util.spec_from_file_location("wsfactory_pure_codec", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pure() -> ModuleType:
    return load_pure()


Outcome = tuple[list[object], int]
Settings = dict[str, int]


def play(codec: ModuleType, seed: int, data: bytes, masked: bool, limits: Settings) -> Outcome:
    """Feed *data* in random pieces, stopping and resuming at random; return all that could be seen, and the rest."""
    dice = random.Random(seed)
    seen: list[object] = []
    stubborn = seed % 3 == 0

    def deliver(payload: bytes, is_binary: bool) -> bool:
        seen.append((payload, is_binary))
        return stubborn and dice.random() < 0.3

    def control(opcode: int, payload: bytes) -> bool:
        seen.append((opcode, payload))
        return stubborn and dice.random() < 0.3

    inflate: Callable[[bytes], bytes] | None = (lambda payload: payload * 2) if seed % 2 else None
    decoder = codec.Decoder(masked, deliver, control, inflate=inflate, **limits)
    longest = max(dice.choice([1, 3, 40, 5000]), len(data) // 200)
    i = 0
    while i < len(data):
        end = i + dice.randint(0, longest)
        try:
            decoder.receive(data[i:end])
            if dice.random() < 0.5:
                decoder.resume()
        except ProtocolError as error:
            seen.append((type(error), str(error)))
        seen.append((decoder.buffered, decoder.stopped))
        i = end
    return seen, decoder.buffered


def random_wire(dice: random.Random, masked: bool) -> bytes:
    """Return bytes that are nearly right: real frames, with now and then a flipped bit or some garbage."""
    wire = bytearray()
    open_message = False
    for _ in range(dice.randint(1, 20)):
        opcode = dice.choice([9, 10, 8, 0, 0, 0] if open_message else [1, 2, 1, 2, 9])
        fin = opcode >= 8 or dice.random() < 0.5
        rsv = 0x40 if dice.random() < 0.1 else 0
        open_message = open_message if opcode >= 8 else not fin
        wire += random_frame(dice, opcode | rsv | (0x80 if fin else 0), masked)
    if dice.random() < 0.5:
        wire[dice.randrange(len(wire))] ^= 1 << dice.randrange(8)
    if dice.random() < 0.2:
        at = dice.randint(0, len(wire))
        wire[at:at] = dice.randbytes(dice.randint(1, 9))
    return bytes(wire)


def random_frame(dice: random.Random, first: int, masked: bool) -> bytes:
    longest = 125 if first & 8 else dice.choice([0, 5, 130, 400, 3000, 70_000])
    length = dice.randint(0, longest)
    alphabet = dice.choice(["abc", "aé", "aé€😀"])
    text = "".join(dice.choices(alphabet, k=length)).encode()[:length]
    keys = _codec.MaskKeys(dice.randbytes) if masked else None
    return _codec.Encoder(keys).frame(first, text)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(100))
def test_the_same_bytes_give_the_same_events(pure: ModuleType, seed: int, masked: bool) -> None:
    dice = random.Random(seed)
    for _ in range(4):
        data = random_wire(dice, masked)
        limits = {
            "max_message": dice.choice([0, 0, 100, 5000, 2**63, 2**70]),
            "max_frame": dice.choice([0, 0, 100, 2**64]),
            "max_fragments": dice.choice([0, 1, 3, 2**64]),
        }
        assert play(_codec, seed, data, masked, limits) == play(pure, seed, data, masked, limits)


@pytest.mark.parametrize("seed", range(100))
def test_the_same_garbage_gives_the_same_error(pure: ModuleType, seed: int) -> None:
    limits = {"max_message": 1000, "max_frame": 0, "max_fragments": 10}
    data = random.Random(seed).randbytes(200)

    assert play(_codec, seed, data, True, limits) == play(pure, seed, data, True, limits)


@pytest.mark.parametrize("length", [*range(150), 1023, 1024, 1025, 65535, 65536, 65537, 200_001])
def test_both_make_the_same_frames(pure: ModuleType, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    plain = frames_of(payload, None, pure)
    masked = frames_of(payload, 1, pure)

    assert plain[0] == plain[1]
    assert masked[0] == masked[1]


def frames_of(payload: bytes, seed: int | None, pure: ModuleType) -> list[bytes]:
    frames = []
    for codec in (_codec, pure):
        keys = None if seed is None else codec.MaskKeys(random.Random(seed).randbytes)
        frames.append(codec.Encoder(keys).frame(0x82, payload))
    return frames


@pytest.mark.parametrize("seed", range(50))
def test_both_judge_text_alike(pure: ModuleType, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(200):
        text = bytearray("".join(dice.choices("abcdefgé€😀", k=dice.randint(0, 200))).encode())
        if text and dice.random() < 0.7:
            text[dice.randrange(len(text))] ^= 1 << dice.randrange(8)
        assert _codec.is_utf8(text) == pure.is_utf8(text)


def test_the_pure_build_really_is_the_python_source(pure: ModuleType) -> None:
    assert (pure.COMPILED, _codec.COMPILED) == (False, True)
    assert Path(_payload.__file__).suffix == ".py"
    assert sys.modules["wsfactory._codec"] is _codec
