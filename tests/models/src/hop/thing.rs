//! A small item of a desired set.

use sync::{Digest, Item};

/// An item: which, and in which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thing {
    /// Which.
    pub key: u16,
    /// In which version.
    pub version: u16,
}

impl Thing {
    /// Two of them fill a part.
    pub const WEIGHT: usize = 40;
}

impl Item for Thing {
    type Key = u16;

    fn key(&self) -> u16 {
        self.key
    }

    /// Mixed by multiplication with odd numbers: cheaper than SHA-256, and no sum of a few marks is another one.
    fn mark(&self) -> Digest {
        let word = (u128::from(self.key) << 16) | u128::from(self.version);
        let spread = (word + 1).wrapping_mul(0xc2b2_ae3d_27d4_eb4f_1656_67b1_9e37_79f9);
        Digest((spread ^ (spread >> 67)).wrapping_mul(0x8bb8_4b93_962e_acc9_2d35_8dcc_aa6c_78a5))
    }

    fn weight(&self) -> usize {
        Self::WEIGHT
    }
}
