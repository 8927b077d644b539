use super::*;
use crate::key::KEY_WORDS;
use std::collections::BTreeSet;

/// Fields that lie over one another on purpose, by their first names' stems.
fn may_share(a: Field, b: Field) -> bool {
    use Field::*;
    let registers = |f: Field| (Reg0..=Xxreg3).contains(&f);
    let groups: &[&[Field]] = &[
        &[InPort, InPortOxm],
        &[VlanTci, VlanVid, VlanPcp],
        &[NwTos, IpDscp, NwEcn],
        &[TcpSrc, UdpSrc, SctpSrc],
        &[TcpDst, UdpDst, SctpDst],
        &[IcmpType, Icmpv6Type],
        &[IcmpCode, Icmpv6Code],
    ];
    (registers(a) && registers(b)) || groups.iter().any(|g| g.contains(&a) && g.contains(&b))
}

#[test]
fn only_views_of_the_same_thing_share_bits() {
    for a in Field::all() {
        for b in Field::all().filter(|b| *b != a) {
            assert!(!a.shares_bits(b) || may_share(a, b), "{a} and {b} share bits");
        }
        assert!(a.shares_bits(a), "{a}");
    }
    assert!(!Field::IpDscp.shares_bits(Field::NwEcn));
    assert!(!Field::VlanVid.shares_bits(Field::VlanPcp));
    assert!(!Field::Reg0.shares_bits(Field::Xreg1));
}

#[test]
fn every_field_lies_within_the_key() {
    for field in Field::all() {
        let Location { word, shift } = field.info().location;
        let width = field.width();
        assert!((1..=128).contains(&width), "{field}");
        if width > 64 {
            assert!(shift == 0 && width == 128 && usize::from(word) + 1 < KEY_WORDS, "{field}");
        } else {
            assert!(u32::from(shift) + width <= 64 && usize::from(word) < KEY_WORDS, "{field}");
        }
    }
}

#[test]
fn registers_lie_within_wider_registers_from_the_high_end() {
    let mut key = crate::Key::default();
    key.set(Field::Xxreg1, 0x1111_1111_2222_2222_3333_3333_4444_4444);
    let [r4, r5, r6, r7] = [Field::Reg4, Field::Reg5, Field::Reg6, Field::Reg7].map(|f| key.get(f));
    assert_eq!([r4, r5, r6, r7], [0x1111_1111, 0x2222_2222, 0x3333_3333, 0x4444_4444]);
    assert_eq!(key.get(Field::Xreg3), 0x3333_3333_4444_4444);
}

#[test]
fn no_name_or_header_stands_for_two_fields() {
    let (mut names, mut headers) = (BTreeSet::new(), BTreeSet::new());
    for row in FIELDS {
        let both = [row.nxm, row.oxm].into_iter().flatten();
        for header in both.clone() {
            assert!(
                headers.insert((format!("{:?}", header.class), header.number)),
                "{} {header:?}",
                row.name
            );
            assert!(header.number < 128, "{header:?}");
        }
        let spelled = both.map(|h| h.name).chain([row.name]).chain(row.aliases.iter().copied());
        for name in spelled {
            assert!(names.insert(name), "{name} names two fields");
            assert_eq!(Field::by_name(name), Some(row.field));
        }
    }
    assert_eq!(Field::by_name("nonsense"), None);
}

#[test]
fn the_table_is_in_the_order_of_its_fields() {
    for (i, row) in FIELDS.iter().enumerate() {
        assert_eq!(row.field as usize, i, "{}", row.name);
    }
}
