//! Our own allocator of pods' addresses: a pure function, for a pod's record is its reservation.

use crate::subnet::Subnet;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The first address of the subnet behind `last`, once round, that is neither the network's, the gateway's nor the
/// broadcast address and not in use. So an address rests for as long as there are others.
pub(super) fn free(subnet: Subnet, used: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let first = u32::from(subnet.gateway()) + 1;
    let end = u32::from(subnet.broadcast());
    let inside = |number: &u32| (first..end).contains(number);
    let start = last.map(|last| u32::from(last).saturating_add(1)).filter(inside).unwrap_or(first);
    // One look at each address in use, and one at a free one.
    let candidates = (start..end).chain(first..start).map(Ipv4Addr::from);
    let mut candidates = candidates.take(used.len() + 1);
    candidates.find(|address| !used.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn the_smallest_subnet_has_one_address() {
        let small = subnet("10.0.0.0/30");
        assert_eq!(free(small, &BTreeSet::new(), None), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(free(small, &[Ipv4Addr::new(10, 0, 0, 2)].into(), None), None);
    }

    #[test]
    fn every_address_but_the_reserved_is_given_once() {
        let (subnet, mut used, mut last) = (subnet("10.0.0.0/27"), BTreeSet::new(), None);
        while let Some(address) = free(subnet, &used, last) {
            assert!(used.insert(address));
            last = Some(address);
        }
        assert_eq!(used.len(), 29);
        assert!(!used.contains(&subnet.gateway()) && !used.contains(&subnet.broadcast()));
        used.remove(&Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(free(subnet, &used, last), Some(Ipv4Addr::new(10, 0, 0, 9)), "freed, given again");
    }

    #[test]
    fn an_address_rests_while_others_are_free() {
        let last = Some(Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(free(subnet("10.0.0.0/24"), &BTreeSet::new(), last), Some(Ipv4Addr::new(10, 0, 0, 8)));
        let elsewhere = Some(Ipv4Addr::new(10, 9, 0, 7));
        let first = Some(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(free(subnet("10.0.0.0/24"), &BTreeSet::new(), elsewhere), first);
    }
}
