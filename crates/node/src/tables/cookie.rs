//! Cookies: whose a flow is.
//!
//! Bits 63 to 48 hold the agent's round (1 at its first start, one more at each; it is how flows of
//! an earlier life are found), bits 47 to 40 the category, the rest an object's id or 0.

use core::fmt;
use std::num::NonZeroU16;

/// The agent's round: which of its lives installed a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Round(NonZeroU16);

impl Round {
    /// The first start.
    pub const FIRST: Round = Round(NonZeroU16::MIN);

    /// The round of a number; None for 0.
    pub fn new(number: u16) -> Option<Round> {
        NonZeroU16::new(number).map(Round)
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0.get()
    }

    /// The next start's; after the last comes the first again.
    #[must_use]
    pub fn next(self) -> Round {
        self.0.checked_add(1).map_or(Round::FIRST, Round)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of thing a flow is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Category {
    /// The pipeline's skeleton, and the gateway's flows, as the agent of the article marks them.
    Default = 0,
    /// A peer.
    Node = 2,
    /// A local pod.
    Pod = 3,
    /// Services.
    Service = 4,
}

/// A flow's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie(u64);

impl Cookie {
    const ROUND_SHIFT: u32 = 48;
    const CATEGORY_SHIFT: u32 = 40;

    /// The cookie of a flow; of `object` the lowest 40 bits count.
    pub fn new(round: Round, category: Category, object: u64) -> Cookie {
        Cookie(
            u64::from(round.number()) << Self::ROUND_SHIFT
                | (category as u64) << Self::CATEGORY_SHIFT
                | object & ((1 << Self::CATEGORY_SHIFT) - 1),
        )
    }

    /// The number in the flow.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The round in a flow's cookie, be it ours or not; 0 in the cookie is no round.
    pub fn round_of(cookie: u64) -> Option<Round> {
        Round::new((cookie >> Self::ROUND_SHIFT) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_the_articles() {
        assert_eq!(Cookie::new(Round::FIRST, Category::Node, 0).bits(), 0x0001_0200_0000_0000);
        assert_eq!(Cookie::new(Round::FIRST, Category::Node, 0).bits(), 0x1020000000000);
        assert_eq!(Cookie::round_of(0x1020000000000), Some(Round::FIRST));
        assert_eq!(Cookie::round_of(0), None);
    }

    #[test]
    fn rounds_go_on_for_ever() {
        assert_eq!(Round::FIRST.next().number(), 2);
        assert_eq!(Round::new(u16::MAX).unwrap().next(), Round::FIRST);
    }
}
