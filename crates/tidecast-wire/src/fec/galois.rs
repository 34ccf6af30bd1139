//! Arithmetic of GF(2^8) with the polynomial 0x11D: products and quotients from tables that the
//! compiler computes.
//!
//! A sum is an exclusive or. `code` solves equations with these functions; `simd` multiplies whole
//! slices, and falls back to [`mul_add_slice`]. The crate reed-solomon-erasure, which defines the
//! code, has the same functions, but also a cache that is not needed here; it is used only in the
//! tests.

/// Product of each pair of factors.
static PRODUCTS: [[u8; 256]; 256] = {
    let mut products = [[0u8; 256]; 256];
    let mut at = 0_usize;
    while at < 256 * 256 {
        let (a, b) = (at / 256, at % 256);
        if b.is_power_of_two() {
            products[a][b] = mul_by_shifts(a as u8, b as u8);
        } else if b > 0 {
            let rest = b & (b - 1);
            products[a][b] = products[a][rest] ^ products[a][b ^ rest];
        }
        at += 1;
    }
    products
};

/// Inverse of each element; 0 for 0, which has none.
static INVERSES: [u8; 256] = {
    let mut inverses = [0; 256];
    // The powers of 2 are all elements except 0, and the product of the n-th and the (255 - n)-th
    // power is 1.
    let mut powers = [1u8; 256];
    let mut n = 1;
    while n < 256 {
        powers[n] = mul_by_shifts(powers[n - 1], 2);
        n += 1;
    }
    while n > 0 {
        n -= 1;
        inverses[powers[n] as usize] = powers[255 - n];
    }
    inverses
};

/// The product of two elements, for tables.
pub(super) const fn mul_by_shifts(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        product ^= a * (b & 1);
        a = (a << 1) ^ (0x1D * (a >> 7));
        b >>= 1;
    }
    product
}

/// The product of two elements.
#[inline]
pub(super) fn mul(a: u8, b: u8) -> u8 {
    PRODUCTS[usize::from(a)][usize::from(b)]
}

/// The quotient of two elements.
///
/// # Panics
/// If the divisor is zero.
#[inline]
pub(super) fn div(a: u8, b: u8) -> u8 {
    assert!(b != 0, "division by zero");
    mul(a, INVERSES[usize::from(b)])
}

/// Adds `factor` times each byte of `input` to the corresponding byte of `target`, up to the end
/// of the shorter one.
pub(super) fn mul_add_slice(factor: u8, input: &[u8], target: &mut [u8]) {
    let products = &PRODUCTS[usize::from(factor)];
    for (target, byte) in target.iter_mut().zip(input) {
        *target ^= products[usize::from(*byte)];
    }
}

#[cfg(test)]
mod tests {
    use reed_solomon_erasure::galois_8;

    use super::*;

    fn pairs() -> impl Iterator<Item = (u8, u8)> {
        (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b)))
    }

    #[test]
    fn all_products_and_quotients_are_those_of_the_library() {
        for (a, b) in pairs() {
            assert_eq!(mul(a, b), galois_8::mul(a, b), "{a} * {b}");
            assert_eq!(mul_by_shifts(a, b), galois_8::mul(a, b), "{a} * {b}");
            if b != 0 {
                assert_eq!(div(a, b), galois_8::div(a, b), "{a} / {b}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "division by zero")]
    fn nothing_is_divided_by_zero() {
        div(0, 0);
    }

    #[test]
    fn products_are_added_as_far_as_both_slices_go() {
        let mut target = [1, 2, 3];
        mul_add_slice(2, &[0x80, 1], &mut target);
        assert_eq!(target, [0x1D ^ 1, 0, 3]);
    }
}
