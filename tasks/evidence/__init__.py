"""Evidence that can be distrusted and checked: what a run holds against what it recorded."""

from tasks.evidence.chain import predecessor_of
from tasks.evidence.columns import LOOSE, Tolerance
from tasks.evidence.compare import Differences, compare_runs
from tasks.evidence.config_text import config_text
from tasks.evidence.envelope import PublicKey, Signer
from tasks.evidence.keys import SIGNING_KEY, TRUSTED_KEYS, KeyPair, new_keys, signing_key, trusted_keys
from tasks.evidence.manifest import ATTESTATION, DIGEST, MANIFEST, Account, outputs, seal
from tasks.evidence.numbers import RENDERERS
from tasks.evidence.provenance import code_about, code_digest, hardware, lock_digest, packages_digest
from tasks.evidence.record import RECORD, kept
from tasks.evidence.verify import Verification, verify_run

__all__ = [
    "ATTESTATION",
    "DIGEST",
    "LOOSE",
    "MANIFEST",
    "RECORD",
    "RENDERERS",
    "SIGNING_KEY",
    "TRUSTED_KEYS",
    "Account",
    "Differences",
    "KeyPair",
    "PublicKey",
    "Signer",
    "Tolerance",
    "Verification",
    "code_about",
    "code_digest",
    "compare_runs",
    "config_text",
    "hardware",
    "kept",
    "lock_digest",
    "new_keys",
    "outputs",
    "packages_digest",
    "predecessor_of",
    "seal",
    "signing_key",
    "trusted_keys",
    "verify_run",
]
