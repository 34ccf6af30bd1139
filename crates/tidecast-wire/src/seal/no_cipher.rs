//! Stands for the functions of cryptography in builds without them: no key can exist.

use super::{KEY, KeyError};
use crate::native::TAG;

/// What cannot exist. Only this module knows: code that would handle it is no dead code for others.
#[derive(Clone)]
enum Never {}

#[derive(Clone)]
pub(super) struct Secret(Never);

impl Secret {
    pub(super) fn new(_: [u8; KEY]) -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }

    pub(super) fn random() -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        match self.0 {}
    }

    pub(super) fn derive(&self, _: &[&[u8]]) -> Secret {
        match self.0 {}
    }

    pub(super) fn ciphers(&self, _: &[&[u8]]) -> Ciphers {
        match self.0 {}
    }
}

pub(super) struct Ciphers(Never);

impl Ciphers {
    pub(super) fn seal(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> [u8; TAG] {
        match self.0 {}
    }

    pub(super) fn open(&self, _: [u8; 12], _: &[u8], _: &[u8], _: &[u8; TAG], _: &mut [u8]) -> bool {
        match self.0 {}
    }

    pub(super) fn authenticate(&self, _: &[u8]) -> [u8; TAG] {
        match self.0 {}
    }

    pub(super) fn verify(&self, _: &[u8], _: &[u8; TAG]) -> bool {
        match self.0 {}
    }
}
