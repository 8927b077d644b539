use super::*;
use proptest::prelude::*;

/// Few values and bits, so that matches often meet.
fn small_match() -> impl Strategy<Value = Match> {
    let fields = [Field::Reg0, Field::Reg1, Field::Xreg0, Field::Ipv6Src, Field::NwProto];
    prop::collection::vec((prop::sample::select(fields.to_vec()), 0..4_u128, 0..4_u128), 0..4).prop_map(
        |list| {
            list.into_iter().fold(Match::any(), |m, (field, value, mask)| m.with_masked(field, value, mask))
        },
    )
}

fn small_key() -> impl Strategy<Value = Key> {
    (0..4_u128, 0..4_u128, 0..4_u128, 0..4_u128).prop_map(|(a, b, c, d)| {
        let mut key = Key::default();
        key.set(Field::Reg0, a);
        key.set(Field::Reg1, b);
        key.set(Field::Ipv6Src, c);
        key.set(Field::NwProto, d);
        key
    })
}

proptest! {
    #[test]
    fn what_is_set_is_read(m in small_match(), value: u128, mask: u128) {
        for field in Field::all() {
            let with = m.clone().with_masked(field, value, mask);
            let mask = mask & field.all_ones();
            prop_assert_eq!(with.get(field), (value & mask, mask), "{}", field);
            for other in Field::all().filter(|other| !other.shares_bits(field)) {
                prop_assert_eq!(with.get(other), m.get(other), "{} changed {}", field, other);
            }
        }
    }

    #[test]
    fn terms_are_canonical(m in small_match()) {
        prop_assert!(m.terms().windows(2).all(|pair| pair[0].word < pair[1].word));
        prop_assert!(m.terms().iter().all(|t| t.mask != 0 && t.value & !t.mask == 0));
    }

    #[test]
    fn takes_the_packets_whose_fields_fit(m in small_match(), key in small_key()) {
        let fits = Field::all().all(|field| {
            let (value, mask) = m.get(field);
            key.get(field) & mask == value
        });
        prop_assert_eq!(m.matches(&key), fits);
    }

    #[test]
    fn subset_and_overlap_agree_with_packets(a in small_match(), b in small_match(), key in small_key()) {
        if a.is_subset_of(&b) && a.matches(&key) {
            prop_assert!(b.matches(&key));
        }
        if a.matches(&key) && b.matches(&key) {
            prop_assert!(a.overlaps(&b) && b.overlaps(&a));
        }
        prop_assert!(a.is_subset_of(&a) && a.is_subset_of(&Match::any()));
    }
}

#[test]
fn the_same_bits_are_the_same_match_whatever_the_words() {
    let by_registers = Match::any().with(Field::Reg0, 1_u8).with(Field::Reg1, 2_u8);
    let by_pair = Match::any().with(Field::Xreg0, 0x1_0000_0002_u64);
    assert_eq!(by_registers, by_pair);
    assert_eq!(Match::any().with_masked(Field::Reg0, 7_u8, 0_u8), Match::any());
}

#[test]
fn exact_is_none_for_a_part() {
    let m = Match::any().with_masked(Field::NwSrc, 0x0a00_0000_u32, 0xff00_0000_u32);
    assert_eq!(m.exact(Field::NwSrc), None);
    assert_eq!(m.with(Field::NwSrc, 5_u8).exact(Field::NwSrc), Some(5));
}
