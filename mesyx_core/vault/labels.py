"""Every label that separates one use of a hash, MAC, KDF or signature from another. Fixed for version 1."""

# Identities
STORE = "store"  # store id: hash of the first manifest
KEYSET = "keyset"  # keyset id: hash of its definition
RECIPIENT = "recipient"  # names a private key: hash of its recipient
MANIFEST = "manifest"  # manifest hash, and what the owner key signs
OWNER = "owner"  # commitment to the next owner key
# Node key file -> derived keys
NODE_SIGN = "node/sign"
NODE_AGE = "node/age"
NODE_STATE = "node/state"
# Epochs and sealing
COMMIT = "epoch/commit"  # the seed's commitment, shown in an epoch entry
TREE = "epoch/tree"  # child = HMAC(parent, tree, bit)
SEAL = "seal/synthetic"  # s = HMAC(k_i, seal, context, plaintext)
KEY = "seal/key"  # AEAD key = HMAC(k_i, key, s)
BLOB = "blob"  # blob key
# Log
ENTRY = "log/entry"  # entry id
CHAIN_START = "log/start"  # chain[0]
CHAIN = "log/chain"
CHECKPOINT = "log/checkpoint"
DIGEST = "log/digest"
DIGEST_NODE = "log/digest-node"
PURGE = "log/purge"  # over the ids of entries that a purge names
OWNER_PURGE = "log/owner-purge"  # what the owner signs to have entries dropped at once
ORIGIN = "log/origin"  # H(origin), by which ranges split
# Exchange
AUTH = "exchange/auth"  # what a dialling node signs
INVITATION = "exchange/invitation"  # proof of an invitation
INVITATION_ID = "exchange/invitation-id"  # names an invitation without its secret
SIGNAL = "exchange/signal"  # what the origin of a signal signs
# Node state at rest
STATE = "state/row"  # s = HMAC(state key, state, space, key, value)
STATE_KEY = "state/key"  # AEAD key of one row = HMAC(state key, state-key, s)
LOGIN = "login/verifier"
ACCOUNT = "node/account"  # names the row of a person's account on another network
# Mailboxes
MAILBOX = "mailbox/id"  # id of a mailbox: fixed name, name in a message, or dot of the op that made it
EMAIL = "mailbox/message"  # stable id of a message: its first entry
THREAD = "mailbox/thread"  # stable id of a thread
# Messages on their way out
DAY = "outgoing/day"  # id of a recipient of the day: hash of its text
