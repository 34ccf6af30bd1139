//! The functions of cryptography, by aws-lc-rs: HKDF-SHA-256, AES-128-GCM and HMAC-SHA-256.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time, hkdf, hmac, rand,
};

use super::{KEY, KeyError};
use crate::native::TAG;

/// Bytes of a key of AES-128.
const DATA_KEY: usize = 16;

/// The bytes of a key.
#[derive(Clone)]
pub(super) struct Secret([u8; KEY]);

/// Length of a derived key.
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Secret {
    pub(super) fn new(bytes: [u8; KEY]) -> Result<Secret, KeyError> {
        Ok(Secret(bytes))
    }

    pub(super) fn random() -> Result<Secret, KeyError> {
        let mut bytes = [0; KEY];
        rand::fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Ok(Secret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    pub(super) fn derive(&self, info: &[&[u8]]) -> Secret {
        Secret(self.expand(info))
    }

    pub(super) fn ciphers(&self, info: &[&[u8]]) -> Ciphers {
        let keys: [u8; DATA_KEY + KEY] = self.expand(info);
        let (data, rest) = keys.split_at(DATA_KEY);
        let data = UnboundKey::new(&AES_128_GCM, data).expect("a key of 16 bytes");
        Ciphers { data: LessSafeKey::new(data), rest: hmac::Key::new(hmac::HMAC_SHA256, rest) }
    }

    fn expand<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.0);
        let mut bytes = [0; N];
        let expanded = extracted.expand(info, Bytes(N)).and_then(|okm| okm.fill(&mut bytes));
        expanded.expect("HKDF-SHA-256 gives up to 8,160 bytes");
        bytes
    }
}

/// Keys of one session.
pub(super) struct Ciphers {
    data: LessSafeKey,
    rest: hmac::Key,
}

impl Ciphers {
    /// Encrypts `payload`, and authenticates `header` and it.
    #[inline]
    pub(super) fn seal(&self, nonce: [u8; 12], header: &[u8], payload: &mut [u8]) -> [u8; TAG] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.data.seal_in_place_separate_tag(nonce, Aad::from(header), payload);
        let tag = tag.expect("a datagram is far shorter than 64 GiB");
        tag.as_ref().try_into().expect("a tag of GCM has 16 bytes")
    }

    /// Decrypts `payload` to `plain`, if the tag is right.
    #[inline]
    pub(super) fn open(
        &self,
        nonce: [u8; 12],
        header: &[u8],
        payload: &[u8],
        tag: &[u8; TAG],
        plain: &mut [u8],
    ) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.data.open_separate_gather(nonce, Aad::from(header), payload, tag, plain).is_ok()
    }

    pub(super) fn authenticate(&self, bytes: &[u8]) -> [u8; TAG] {
        let tag = hmac::sign(&self.rest, bytes);
        *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    pub(super) fn verify(&self, bytes: &[u8], tag: &[u8; TAG]) -> bool {
        constant_time::verify_slices_are_equal(&self.authenticate(bytes), tag).is_ok()
    }
}
