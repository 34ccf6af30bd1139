//! Stands for the functions of cryptography in builds without them: no key can exist.

use super::{KEY, KeyError};
use crate::native::TAG;

#[derive(Clone)]
pub(super) enum Secret {}

impl Secret {
    pub(super) fn new(_: [u8; KEY]) -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }

    pub(super) fn random() -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        match *self {}
    }

    pub(super) fn derive(&self, _: &[&[u8]]) -> Secret {
        match *self {}
    }

    pub(super) fn ciphers(&self, _: &[&[u8]]) -> Ciphers {
        match *self {}
    }
}

pub(super) enum Ciphers {}

impl Ciphers {
    pub(super) fn seal(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> [u8; TAG] {
        match *self {}
    }

    pub(super) fn open(&self, _: [u8; 12], _: &[u8], _: &[u8], _: &[u8; TAG], _: &mut [u8]) -> bool {
        match *self {}
    }

    pub(super) fn authenticate(&self, _: &[u8]) -> [u8; TAG] {
        match *self {}
    }

    pub(super) fn verify(&self, _: &[u8], _: &[u8; TAG]) -> bool {
        match *self {}
    }
}
