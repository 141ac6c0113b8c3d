"""What we seal as age files, stock age opens, and the other way round; nothing malformed passes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from mesyx_core.vault import age
from mesyx_core.vault.age import armor, base64, bech32, header, identity, payload, recipients

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "age.json").read_text())
CLASSIC, HYBRID = age.Identity.classic(b"1" * 32), age.Identity.hybrid(b"2" * 32)
THEIRS = pyrage.x25519.Identity.from_str(CLASSIC.text)
SIZES = [0, 1, 65535, 65536, 65537, 131072, 131073]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["text"][:24])
def test_keys_are_fixed(case: dict[str, Any]) -> None:
    made = getattr(age.Identity, case["kind"])(bytes.fromhex(case["secret"]))
    assert made.text == case["text"]
    assert made.recipient == case["recipient"]
    assert age.parse_identity(case["text"]) == made
    assert age.check_recipient(made.recipient) == {"classic": "x25519", "hybrid": "hybrid"}[case["kind"]]


def test_keys_are_written_as_stock_age_does() -> None:
    assert str(THEIRS.to_public()) == CLASSIC.recipient
    made = pyrage.x25519.Identity.generate()
    assert age.parse_identity(str(made)).recipient == str(made.to_public())
    assert age.parse_identity(str(made)).text == str(made)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("armored", [False, True])
def test_stock_age_opens_ours_and_we_open_its(size: int, armored: bool) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    ours = age.encrypt(data[:size], [age.generate(hybrid=False).recipient, CLASSIC.recipient], armor=armored)
    assert pyrage.decrypt(ours, [THEIRS]) == data[:size]
    theirs = pyrage.encrypt(data[:size], [THEIRS.to_public()], armored=armored)
    assert age.decrypt(theirs, [CLASSIC]) == data[:size]


def test_passphrases_work_both_ways() -> None:
    ours = age.encrypt_passphrase(b"kit", "correct horse", work=10)
    assert pyrage.passphrase.decrypt(ours, "correct horse") == b"kit"
    theirs = pyrage.passphrase.encrypt(b"kit", "correct horse")
    assert age.decrypt_passphrase(theirs, "correct horse") == b"kit"
    with pytest.raises(age.NoMatch):
        age.decrypt_passphrase(ours, "wrong horse")
    with pytest.raises(age.HeaderError):
        age.decrypt_passphrase(ours, "correct horse", max_work=9)
    with pytest.raises(age.NoMatch):
        age.decrypt(ours, [CLASSIC, HYBRID])
    with pytest.raises(age.NoMatch):
        age.decrypt_passphrase(age.encrypt(b"", [CLASSIC.recipient]), "correct horse")


@pytest.mark.parametrize("work", [-1, 0, 23])
def test_work_that_others_refuse_is_not_asked_for(work: int) -> None:
    with pytest.raises(age.AgeError):
        age.encrypt_passphrase(b"", "", work=work)


@pytest.mark.parametrize("size", SIZES)
def test_hybrid_files_open(size: int) -> None:
    others = [age.generate().recipient for _ in range(2)]
    file = age.encrypt(bytes(size), [*others, HYBRID.recipient])
    assert age.decrypt(file, [CLASSIC, HYBRID]) == bytes(size)
    with pytest.raises(age.NoMatch):
        age.decrypt(file, [CLASSIC])
    with pytest.raises(age.NoMatch):
        age.decrypt(file, [])


def test_a_seed_to_one_hybrid_recipient_stays_small() -> None:
    assert len(age.encrypt(bytes(32), [HYBRID.recipient])) < 1_700


def test_classic_and_hybrid_recipients_do_not_mix() -> None:
    for mixed in ([CLASSIC.recipient, HYBRID.recipient], []):
        with pytest.raises(age.AgeError):
            age.encrypt(b"", mixed)


def test_two_files_of_one_text_share_nothing() -> None:
    one, other = (age.encrypt(bytes(100), [CLASSIC.recipient]) for _ in range(2))
    assert one[22:66] != other[22:66]
    assert one[-116:] != other[-116:]


@pytest.mark.parametrize("key", [CLASSIC, HYBRID], ids=["classic", "hybrid"])
def test_no_byte_can_be_changed_and_no_end_cut(key: age.Identity) -> None:
    file = age.encrypt(b"text", [key.recipient])
    for at in range(len(file)):
        with pytest.raises(age.AgeError):
            age.decrypt(flip(file, at), [key])
    for size in range(len(file)):
        with pytest.raises(age.AgeError):
            age.decrypt(file[:size], [key])
    with pytest.raises(age.PayloadError):
        age.decrypt(file + b"x", [key])


def test_a_payload_cut_at_a_chunk_gives_nothing() -> None:
    file = age.encrypt(bytes(3 * 65536), [CLASSIC.recipient])
    for cut in (65552, 2 * 65552):
        with pytest.raises(age.PayloadError):
            age.decrypt(file[:-cut], [CLASSIC])


@pytest.mark.parametrize("point", sorted(recipients._LOW_ORDER))
@pytest.mark.parametrize("top", [0, 1 << 255])
def test_points_of_low_order_are_neither_recipients_nor_shares(point: int, top: int) -> None:
    share = (point | top).to_bytes(32, "little")
    with pytest.raises(ValueError, match=r".*"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(share))
    hybrid = bech32.decode(HYBRID.recipient)[1][:1184]
    for recipient in (bech32.encode("age", share), bech32.encode("age1pq", hybrid + share)):
        with pytest.raises(age.AgeError):
            age.check_recipient(recipient)
        with pytest.raises(age.AgeError):
            age.encrypt(b"", [recipient])
    stanza = header.Stanza(b"X25519", (base64.encode(share),), bytes(32))
    with pytest.raises(age.HeaderError, match="low order"):
        CLASSIC.key.unwrap(stanza)


def test_a_hybrid_recipient_has_a_valid_mlkem_key() -> None:
    mlkem = bytearray(bech32.decode(HYBRID.recipient)[1])
    mlkem[:1152] = b"\xff" * 1152  # coefficients above q (FIPS 203, 7.2)
    with pytest.raises(age.AgeError):
        age.check_recipient(bech32.encode("age1pq", bytes(mlkem)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        "1",
        CLASSIC.recipient[:-1],
        CLASSIC.recipient + "q",
        CLASSIC.recipient[:-1] + ("q" if CLASSIC.recipient[-1] != "q" else "p"),
        CLASSIC.recipient.upper(),
        CLASSIC.recipient[:20] + CLASSIC.recipient[20:].upper(),
        " " + CLASSIC.recipient,
        CLASSIC.recipient + "\n",
        CLASSIC.recipient.replace("age1", "agé1"),
        HYBRID.recipient[:-1],
        bech32.encode("age", bytes(31)),
        bech32.encode("age", bytes(33)),
        bech32.encode("age1pq", bytes(32)),
        bech32.encode("age1pq", bytes(1215)),
        bech32.encode("age", b"9" * 1216),
        bech32.encode("bge", b"9" * 32),
        bech32.encode("age1tag", b"9" * 33),
        CLASSIC.text,
        "q" * 100_000,
    ],
)
def test_what_is_no_recipient(text: str) -> None:
    with pytest.raises(age.AgeError):
        age.check_recipient(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        CLASSIC.text.lower(),
        CLASSIC.text[:-1],
        CLASSIC.recipient,
        bech32.encode("age-secret-key-", bytes(31)).upper(),
        bech32.encode("age-secret-key-pq-", bytes(33)).upper(),
        bech32.encode("age-plugin-x-", bytes(32)).upper(),
    ],
)
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(age.AgeError) as caught:
        age.parse_identity(text)
    assert text == "" or text[-20:] not in str(caught.value)


@pytest.mark.parametrize("size", range(1, 40))
def test_bech32_has_one_form(size: int) -> None:
    text = bech32.encode("age", bytes(range(size)))
    assert bech32.decode(text) == ("age", bytes(range(size)))
    spare = -size * 8 % 5
    values = [bech32._ALPHABET.index(character) for character in text[4:-6]]
    for bit in range(spare):
        changed = [*values[:-1], values[-1] | 1 << bit]
        with pytest.raises(age.AgeError):
            bech32.decode(with_checksum("age", changed))
    if spare < 3:  # else one more makes another byte
        with pytest.raises(age.AgeError):
            bech32.decode(with_checksum("age", [*values, 0]))


def with_checksum(prefix: str, values: list[int]) -> str:
    rest = bech32._polymod([*bech32._expand(prefix), *values, *[0] * 6]) ^ 1
    values = [*values, *(rest >> 5 * (5 - place) & 31 for place in range(6))]
    return prefix + "1" + "".join(bech32._ALPHABET[value] for value in values)


def test_published_bech32_strings_decode() -> None:
    # BIP 173, test vectors
    for text in ("A12UEL5L", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "?1ezyfcl"):
        prefix, data = bech32.decode(text)
        assert bech32.encode(prefix, data) == text.lower()
    for text in ("\x201nwldj5", "\x7f1axkwrx", "\x801eym55h", "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3"):
        with pytest.raises(age.AgeError):
            bech32.decode(text)


@given(st.binary(max_size=300))
def test_armor_has_one_form_but_for_line_ends(data: bytes) -> None:
    text = armor.encode(data)
    assert armor.decode(text) == data
    assert armor.decode(text.replace(b"\n", b"\r\n")) == data
    assert armor.decode(b"\r\n \t" + text + b"\n\n") == data
    assert armor.is_armored(text)


@pytest.mark.parametrize("size", [1, 47, 48, 49, 96, 100])
def test_armor_lines_have_64_columns(size: int) -> None:
    begin, *lines, end, _ = armor.encode(bytes(size)).split(b"\n")
    whole = b"".join(lines)
    for columns in (1, 32, 63, 65, 128):
        wrong = [whole[at : at + columns] for at in range(0, len(whole), columns)]
        if wrong != lines:
            with pytest.raises(age.ArmorError):
                armor.decode(b"\n".join((begin, *wrong, end)))
    for place in range(len(lines) + 1):
        with pytest.raises(age.ArmorError):
            armor.decode(b"\n".join((begin, *lines[:place], b"", *lines[place:], end)))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_garbage_is_an_age_error(data: bytes) -> None:
    for file in (data, b"age-encryption.org/v1\n" + data, b"age-encryption.org/v1\n-> X25519 " + data):
        with pytest.raises(age.AgeError):
            age.decrypt(file, [CLASSIC])


def test_sizes_and_counts_are_bounded() -> None:
    stanza = b"-> x\n\n"
    for hostile in (
        b"age-encryption.org/v1\n" + stanza * (header.MOST_STANZAS + 1) + b"--- ",
        b"age-encryption.org/v1\n-> x\n" + (b"A" * 64 + b"\n") * (header.LONGEST // 64),
        b"age-encryption.org/v1\n-> " + b"x" * header.LONGEST,
    ):
        with pytest.raises(age.HeaderError, match="too"):
            age.decrypt(hostile, [CLASSIC])
    with pytest.raises(age.AgeError, match="large"):
        age.decrypt(bytes(age.file.LARGEST_FILE + 1), [CLASSIC])
    with pytest.raises(age.AgeError, match="large"):
        age.encrypt(bytes(age.LARGEST + 1), [CLASSIC.recipient])
    with pytest.raises(age.AgeError):
        age.encrypt(b"", [CLASSIC.recipient] * (header.MOST_STANZAS + 1))


def test_a_file_key_of_another_size_is_refused_before_it_is_tried() -> None:
    for size in (16, 31, 33, 48):
        stanza = header.Stanza(b"X25519", (base64.encode(CLASSIC.key.public),), bytes(size))
        with pytest.raises(age.HeaderError, match="size"):
            CLASSIC.key.unwrap(stanza)


def test_identities_are_neither_copied_nor_shown() -> None:
    for key in (CLASSIC, HYBRID):
        with pytest.raises(TypeError):
            pickle.dumps(key)
        assert key.text not in repr(key)
    with pytest.raises(age.AgeError):
        age.Identity.classic(bytes(31))
    with pytest.raises(age.AgeError):
        age.Identity.hybrid(bytes(33))
    assert {CLASSIC, identity.parse_identity(CLASSIC.text)} == {CLASSIC}


def test_the_last_chunk_is_empty_only_in_an_empty_payload() -> None:
    key, nonce = bytes(16), bytes(16)
    assert payload.open_(key, memoryview(payload.seal(key, nonce, b""))) == b""
    cipher = ChaCha20Poly1305(header.derive(key, nonce, b"payload"))
    first = cipher.encrypt(payload._nonce(0, False), bytes(65536), None)
    last = cipher.encrypt(payload._nonce(1, True), b"", None)
    with pytest.raises(age.PayloadError):
        payload.open_(key, memoryview(nonce + first + last))
