"""Mail out of a Mesyx journal, without Mesyx: python recover.py FOLDER IDENTITIES OUT   (AGE=age opens seeds with age)

FOLDER holds journal.db and blobs, IDENTITIES lines AGE-SECRET-KEY-…; each mail becomes a file in OUT, bodies as they
came. Needs the packages cbor2 and cryptography, nothing else."""

import base64, hashlib, hmac, io, os, pathlib, sqlite3, subprocess, sys  # noqa: E401
from cbor2 import CBORDecoder, dumps, loads
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

folder, file, out = map(pathlib.Path, sys.argv[1:])
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

def mac(key, label, *values):
    return hmac.digest(key, b"mesyx/1 " + label + b"\0" + dumps(values, canonical=True), "sha256")

def secret(line):  # bech32 without its checksum
    digits = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in line.lower().rpartition("1")[2][:-6]]
    bits = "".join(f"{digit:05b}" for digit in digits)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, 256, 8))

def private(line):
    if not line.startswith("AGE-SECRET-KEY-PQ-"):
        return x25519.X25519PrivateKey.from_private_bytes(secret(line))
    long = hashlib.shake_256(secret(line)).digest(96)
    classic = x25519.X25519PrivateKey.from_private_bytes(long[64:])
    return hpke.MLKEM768X25519PrivateKey(mlkem.MLKEM768PrivateKey.from_seed_bytes(long[:64]), classic)

def derive(key, salt, info):
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, salt, info).derive(key))

def unwrapped(kind, share, body, key):
    if kind == b"X25519" and isinstance(key, x25519.X25519PrivateKey):
        both = key.exchange(x25519.X25519PublicKey.from_public_bytes(share)), share + key.public_key().public_bytes_raw()
        return derive(*both, b"age-encryption.org/v1/X25519").decrypt(bytes(12), body, None)
    if kind == b"mlkem768x25519" and not isinstance(key, x25519.X25519PrivateKey):
        return SUITE.decrypt(share + body, key, b"age-encryption.org/mlkem768x25519")
    raise InvalidTag

def opened(sealed):  # what an age file of less than 64 KiB holds
    if "AGE" in os.environ:
        return subprocess.run([os.environ["AGE"], "-d", "-i", file], input=sealed, capture_output=True).stdout
    head, _, rest = sealed.partition(b"\n--- ")
    lines, payload = head.split(b"\n"), rest.partition(b"\n")[2]
    for at, line in enumerate(lines):
        for key in keys if line.startswith(b"-> ") else ():
            try:
                share, body = (base64.b64decode(text + b"==") for text in (line.split()[2], lines[at + 1]))
                found = derive(unwrapped(line.split()[1], share, body, key), payload[:16], b"payload")
                return found.decrypt(bytes(11) + b"\1", payload[16:], None)
            except (InvalidTag, ValueError, IndexError):
                continue

def large(hash, size, key):
    data, step = (folder / "blobs" / hash.hex()).read_bytes(), 65552
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    nonces = [n.to_bytes(11, "big") + bytes([n == len(parts) - 1]) for n in range(len(parts))]
    return b"".join(ChaCha20Poly1305(key).decrypt(nonce, part, None) for nonce, part in zip(nonces, parts))[:size]

keys = [private(line) for line in file.read_text().split("\n") if line.startswith("AGE-SECRET-KEY-")]
rows = sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True).execute(
    "SELECT s.id, l.node, l.incarnation, e.header, e.payload FROM entry e JOIN log l ON l.number = e.key >> 40 "
    "JOIN store s ON s.number = l.store WHERE e.payload IS NOT NULL ORDER BY e.key").fetchall()
seeds = {}
for store, node, run, header, payload in rows:
    kind, epoch = loads(header)[1:3]
    if kind in (2, 5):  # a seed: of this log's epoch, or of another's that was sealed again
        *_, target, _, sealed = loads(payload) if kind == 2 else (*loads(payload)[:5], b"", loads(payload)[5])
        place = (node, run, epoch) if kind == 2 else tuple(loads(payload)[1:4])
        if seed := opened(sealed):
            seeds.setdefault(place, []).append(seed)
os.umask(0o077)
out.mkdir(parents=True, exist_ok=True)
lost = 0
for store, node, run, header, payload in rows:
    _, kind, epoch, index, s, blobs, *_ = loads(header)
    for key in seeds.get((node, run, epoch), ()) if kind == 3 else ():
        for bit in f"{index:010b}":
            key = mac(key, b"epoch/tree", int(bit))
        about = dumps((store, node, run, kind, epoch, index, len(payload) - 16, blobs), canonical=True)
        try:
            whole = ChaCha20Poly1305(mac(key, b"seal/key", s)).decrypt(bytes(12), payload, about)
            _, what, *content = CBORDecoder(io.BytesIO(whole)).decode()
            if what == "mail":
                body = content[1] if isinstance(content[1], bytes) else large(*content[1])
                (out / f"{run.hex()[:12]}-{epoch}-{index}.eml").write_bytes(body)
            break
        except Exception as error:  # one that is damaged takes no other with it
            print(f"{run.hex()[:12]}-{epoch}-{index}: {type(error).__name__}", file=sys.stderr)
            lost += 1
sys.exit(lost > 0)
