//! How a subscriber proves that it knows a token, without sending it: HMAC-SHA-256 (RFC 2104)
//! over its request. The key is the token's SHA-256, which is all that the relay has.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Ask, Request};

/// Bytes of a proof.
pub const PROOF_BYTES: usize = ID_BYTES + 32;

/// Bytes of a token's id.
const ID_BYTES: usize = 8;

/// Start of what the code is computed over, so that the key serves no other purpose.
const LABEL: &[u8] = b"tidecast lease 1";

/// SHA-256 of a token. A token is 256 random bits, so nobody finds it from its digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub fn of(token: &str) -> TokenDigest {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }

    /// Says which token a proof is about: the start of the digest's own digest, which tells nothing
    /// about either.
    pub fn id(&self) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&Sha256::digest(self.0)[..ID_BYTES]);
        id
    }

    /// The proof for a request, whose own `proof` is ignored.
    pub fn prove(&self, request: &Request<'_>) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        proof[..ID_BYTES].copy_from_slice(&self.id());
        proof[ID_BYTES..].copy_from_slice(&self.code(request).finalize().into_bytes());
        proof
    }

    /// Whether a request proves that its sender knows the token. Compares in constant time.
    pub fn is_proved(&self, request: &Request<'_>) -> bool {
        let Some((id, code)) = request.proof.split_at_checked(ID_BYTES) else { return false };
        id == self.id() && self.code(request).verify_slice(code).is_ok()
    }

    fn code(&self, request: &Request<'_>) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        let kind = match request.ask {
            Ask::Cookie => 1,
            Ask::Subscribe => 2,
            Ask::Leave => 3,
        };
        code.update(LABEL);
        code.update(&[kind]);
        code.update(&request.nonce);
        code.update(&request.cookie);
        code.update(request.name.as_bytes());
        code
    }
}

/// Hides the digest, which is the key of the proofs.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<'static> {
        Request { ask: Ask::Subscribe, nonce: [1; 8], cookie: [2; 16], name: "cam", proof: b"" }
    }

    /// Computed by Python's hashlib and hmac.
    #[test]
    fn the_proof_is_the_one_of_the_document() {
        let digest = TokenDigest::of("secret");
        let hex: String = digest.prove(&request()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, PYTHON);
    }

    const PYTHON: &str = "3881219d087dd9c62be255bc3106683ef4667d599ff315a9b57391b627890fb979603a96dd497768";

    #[test]
    fn a_proof_counts_for_its_request_and_token_alone() {
        let digest = TokenDigest::of("secret");
        let proof = digest.prove(&request());
        let good = Request { proof: &proof, ..request() };
        assert!(digest.is_proved(&good));
        assert!(!TokenDigest::of("Secret").is_proved(&good));
        for other in [
            Request { ask: Ask::Cookie, ..good },
            Request { nonce: [0; 8], ..good },
            Request { cookie: [0; 16], ..good },
            Request { name: "cam2", ..good },
            Request { proof: &proof[..PROOF_BYTES - 1], ..good },
            Request { proof: b"", ..good },
        ] {
            assert!(!digest.is_proved(&other), "{other:?}");
        }
        for byte in 0..PROOF_BYTES {
            let mut forged = proof;
            forged[byte] ^= 1;
            assert!(!digest.is_proved(&Request { proof: &forged, ..good }), "byte {byte}");
        }
    }
}
