//! Sums of products of slices in GF(2^8), polynomial 0x11D, with the widest instructions of the
//! CPU. `code` decides what to multiply; only this file uses vector instructions.
//!
//! A product is the sum of the products of the factor with the two 4-bit halves, and a table of
//! the 16 products of a half fits the instruction that looks up 16 bytes at once. Up to four
//! targets per pass share the loads and the halving of the input.

#![allow(unsafe_code)] // vector instructions, and loads and stores for them; each block says why it is sound

use super::galois::{mul_add_slice, mul_by_shifts};

/// An instruction set that the CPU has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Isa(Instructions);

/// Private, so that an [`Isa`] that the CPU does not have cannot be created.
#[derive(Clone, Copy, Debug)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

impl Isa {
    /// All instruction sets of the CPU, the fastest first.
    pub(super) fn all() -> impl Iterator<Item = Isa> {
        let found = [
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx2").then_some(Instructions::Avx2),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("ssse3").then_some(Instructions::Ssse3),
            #[cfg(target_arch = "aarch64")]
            std::arch::is_aarch64_feature_detected!("neon").then_some(Instructions::Neon),
            Some(Instructions::Scalar),
        ];
        found.into_iter().flatten().map(Isa)
    }

    /// The fastest one of the CPU.
    pub(super) fn best() -> Isa {
        Isa::all().next().unwrap_or(Isa(Instructions::Scalar))
    }

    /// Adds to the start of each target its factor times `input`.
    ///
    /// # Panics
    /// If there are not as many factors as targets, or a target is shorter than `input`.
    pub(super) fn add_products(self, factors: &[u8], input: &[u8], targets: &mut [Vec<u8>]) {
        assert_eq!(factors.len(), targets.len());
        let (fours, factors) = factors.as_chunks();
        let (targets_of_fours, targets) = targets.as_chunks_mut::<4>();
        for (&factors, targets) in fours.iter().zip(targets_of_fours) {
            self.add(factors, input, targets.each_mut());
        }
        match (factors, targets) {
            (&[a], [t]) => self.add([a], input, [t]),
            (&[a, b], [t, u]) => self.add([a, b], input, [t, u]),
            (&[a, b, c], [t, u, v]) => self.add([a, b, c], input, [t, u, v]),
            _ => {}
        }
    }

    fn add<const N: usize>(self, factors: [u8; N], input: &[u8], targets: [&mut Vec<u8>; N]) {
        let targets = targets.map(|target| &mut target[..input.len()]);
        match self.0 {
            _ if input.len() < 16 => add_scalar(factors, input, targets),
            // SAFETY: an `Isa` comes only from `Isa::all`, so the CPU has these instructions.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 if input.len() >= 32 => unsafe { avx2::add(factors, input, targets) },
            // SAFETY: as above; every CPU with AVX2 also has SSSE3.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 | Instructions::Ssse3 => unsafe { ssse3::add(factors, input, targets) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { neon::add(factors, input, targets) },
            Instructions::Scalar => add_scalar(factors, input, targets),
        }
    }
}

fn add_scalar<const N: usize>(factors: [u8; N], input: &[u8], targets: [&mut [u8]; N]) {
    for (factor, target) in factors.into_iter().zip(targets) {
        mul_add_slice(factor, input, target);
    }
}

/// The products of every factor with 0 to 15, and with 16 times these.
static PRODUCTS: [[[u8; 16]; 2]; 256] = {
    let mut products = [[[0; 16]; 2]; 256];
    let mut at = 0;
    while at < 256 * 16 {
        let (factor, half) = (at / 16, at % 16);
        products[factor][0][half] = mul_by_shifts(factor as u8, half as u8);
        products[factor][1][half] = mul_by_shifts(factor as u8, (half << 4) as u8);
        at += 1;
    }
    products
};

/// The loop over vectors of `$width` bytes, for a module that defines the vector operations.
///
/// The rest at the end is processed as one more whole vector, which overlaps the previous one: its
/// sums are computed from the original bytes and written last, so that both write the same bytes
/// where they overlap.
macro_rules! vectors {
    ($feature:literal, $width:literal) => {
        #[target_feature(enable = $feature)]
        pub(super) fn add<const N: usize>(factors: [u8; N], input: &[u8], targets: [&mut [u8]; N]) {
            let Some(last) = input.len().checked_sub($width) else {
                return add_scalar(factors, input, targets);
            };
            assert!(targets.iter().all(|target| target.len() == input.len()));
            let (input, targets) = (input.as_ptr(), targets.map(|target| target.as_mut_ptr()));
            let tables = factors.map(|factor| tables(&PRODUCTS[usize::from(factor)]));
            // SAFETY: vectors are read and written at `last` and below; `$width` bytes from `last`
            // is the end of the input and of each target.
            unsafe {
                let halves_of_last = halves(load(input.add(last)));
                let mut sums = targets.map(|target| load(target.add(last)));
                for (sum, tables) in sums.iter_mut().zip(tables) {
                    *sum = add_product(*sum, tables, halves_of_last);
                }
                for at in (0..last).step_by($width) {
                    let halves = halves(load(input.add(at)));
                    for (target, tables) in targets.into_iter().zip(tables) {
                        let target = target.add(at);
                        store(target, add_product(load(target), tables, halves));
                    }
                }
                for (target, sum) in targets.into_iter().zip(sums) {
                    store(target.add(last), sum);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{PRODUCTS, add_scalar, ssse3};

    vectors!("avx2", 32);

    #[target_feature(enable = "avx2")]
    fn tables(products: &[[u8; 16]; 2]) -> [__m256i; 2] {
        let [low, high] = ssse3::tables(products);
        [_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)]
    }

    /// # Safety
    /// 32 bytes must be readable at `from`.
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    /// # Safety
    /// 32 bytes must be writable at `to`.
    #[target_feature(enable = "avx2")]
    unsafe fn store(to: *mut u8, vector: __m256i) {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { _mm256_storeu_si256(to.cast(), vector) }
    }

    #[target_feature(enable = "avx2")]
    fn halves(bytes: __m256i) -> [__m256i; 2] {
        let low = _mm256_set1_epi8(0x0F);
        [_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), low)]
    }

    #[target_feature(enable = "avx2")]
    fn add_product(sum: __m256i, [low, high]: [__m256i; 2], [lows, highs]: [__m256i; 2]) -> __m256i {
        let product = _mm256_xor_si256(_mm256_shuffle_epi8(low, lows), _mm256_shuffle_epi8(high, highs));
        _mm256_xor_si256(sum, product)
    }
}

#[cfg(target_arch = "x86_64")]
mod ssse3 {
    use std::arch::x86_64::*;

    use super::{PRODUCTS, add_scalar};

    vectors!("ssse3", 16);

    #[target_feature(enable = "ssse3")]
    pub(super) fn tables([low, high]: &[[u8; 16]; 2]) -> [__m128i; 2] {
        // SAFETY: reads the 16 bytes of each array.
        unsafe { [load(low.as_ptr()), load(high.as_ptr())] }
    }

    /// # Safety
    /// 16 bytes must be readable at `from`.
    #[target_feature(enable = "ssse3")]
    unsafe fn load(from: *const u8) -> __m128i {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    /// # Safety
    /// 16 bytes must be writable at `to`.
    #[target_feature(enable = "ssse3")]
    unsafe fn store(to: *mut u8, vector: __m128i) {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { _mm_storeu_si128(to.cast(), vector) }
    }

    #[target_feature(enable = "ssse3")]
    fn halves(bytes: __m128i) -> [__m128i; 2] {
        let low = _mm_set1_epi8(0x0F);
        [_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi64::<4>(bytes), low)]
    }

    #[target_feature(enable = "ssse3")]
    fn add_product(sum: __m128i, [low, high]: [__m128i; 2], [lows, highs]: [__m128i; 2]) -> __m128i {
        let product = _mm_xor_si128(_mm_shuffle_epi8(low, lows), _mm_shuffle_epi8(high, highs));
        _mm_xor_si128(sum, product)
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{PRODUCTS, add_scalar};

    vectors!("neon", 16);

    #[target_feature(enable = "neon")]
    fn tables([low, high]: &[[u8; 16]; 2]) -> [uint8x16_t; 2] {
        // SAFETY: reads the 16 bytes of each array.
        unsafe { [load(low.as_ptr()), load(high.as_ptr())] }
    }

    /// # Safety
    /// 16 bytes must be readable at `from`.
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const u8) -> uint8x16_t {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { vld1q_u8(from) }
    }

    /// # Safety
    /// 16 bytes must be writable at `to`.
    #[target_feature(enable = "neon")]
    unsafe fn store(to: *mut u8, vector: uint8x16_t) {
        // SAFETY: guaranteed by the caller; no alignment is required.
        unsafe { vst1q_u8(to, vector) }
    }

    #[target_feature(enable = "neon")]
    fn halves(bytes: uint8x16_t) -> [uint8x16_t; 2] {
        [vandq_u8(bytes, vdupq_n_u8(0x0F)), vshrq_n_u8::<4>(bytes)]
    }

    #[target_feature(enable = "neon")]
    fn add_product(
        sum: uint8x16_t,
        [low, high]: [uint8x16_t; 2],
        [lows, highs]: [uint8x16_t; 2],
    ) -> uint8x16_t {
        let product = veorq_u8(vqtbl1q_u8(low, lows), vqtbl1q_u8(high, highs));
        veorq_u8(sum, product)
    }
}

#[cfg(test)]
mod tests {
    use reed_solomon_erasure::galois_8;

    use super::*;

    /// Pseudo-random bytes that include 0 and 255.
    fn noise(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| ((seed * 7919 + at + 1).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn the_tables_are_the_library_s_products() {
        for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
            let [low, high] = &PRODUCTS[usize::from(a)];
            assert_eq!(low[usize::from(b & 15)] ^ high[usize::from(b >> 4)], galois_8::mul(a, b));
        }
    }

    #[test]
    fn the_last_is_what_every_cpu_has() {
        assert!(matches!(Isa::all().last(), Some(Isa(Instructions::Scalar))));
        #[cfg(target_arch = "aarch64")]
        assert!(matches!(Isa::best(), Isa(Instructions::Neon)), "every aarch64 of ours has it");
    }

    /// Every instruction set of this CPU, with every factor, every length around that of a vector
    /// and any alignment.
    #[test]
    fn all_add_what_the_library_adds() {
        for isa in Isa::all() {
            for (len, from, count) in
                (0..=140).flat_map(|len| (0..3).map(move |n| (len, (len + n) % 33, n + 1)))
            {
                for base in (0..=255).step_by(3) {
                    let factors: Vec<u8> = (0..count).map(|n| (base + 85 * n) as u8).collect();
                    let input = &noise(base, from + len)[from..];
                    let before: Vec<_> = (0..count).map(|n| noise(n + 1, len + n % 2)).collect();
                    let mut expected = before.clone();
                    for (factor, target) in factors.iter().zip(&mut expected) {
                        galois_8::mul_slice_xor(*factor, input, &mut target[..len]);
                    }
                    let mut targets = before;
                    isa.add_products(&factors, input, &mut targets);
                    assert_eq!(targets, expected, "{isa:?}, {len} bytes at {from}, factors {factors:?}");
                }
            }
        }
    }
}
