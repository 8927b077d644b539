use super::*;
use proptest::prelude::*;

fn any_field() -> impl Strategy<Value = Field> {
    prop::sample::select(Field::all().collect::<Vec<_>>())
}

fn any_key() -> impl Strategy<Value = Key> {
    prop::array::uniform(any::<u64>()).prop_map(Key)
}

proptest! {
    #[test]
    fn what_is_set_is_read_and_the_rest_stays(mut key in any_key(), field in any_field(), value: u128) {
        let before = key.clone();
        key.set(field, value);
        prop_assert_eq!(key.get(field), value & field.all_ones());
        for other in Field::all().filter(|other| !other.shares_bits(field)) {
            prop_assert_eq!(key.get(other), before.get(other), "{} changed {}", field, other);
        }
        key.set(field, before.get(field));
        prop_assert!(key == before, "{} changed bits outside itself", field);
    }

    #[test]
    fn a_mask_leaves_the_other_bits(mut key in any_key(), field in any_field(), value: u128, mask: u128) {
        let before = key.get(field);
        key.set_masked(field, value, mask);
        prop_assert_eq!(key.get(field), ((before & !mask) | (value & mask)) & field.all_ones());
    }
}

#[test]
fn actions_do_not_see_the_ecn_in_nw_tos_nor_the_upper_byte_of_arp_op() {
    let mut key = Key::default();
    key.set(Field::NwTos, 0b1010_1011);
    let tos = Subfield::whole(Field::NwTos);
    assert_eq!(key.read(tos), 0b1010_1000);
    key.write(tos, 0b1111);
    assert_eq!(key.get(Field::NwTos), 0b0000_1111);
    key.write(tos, 0);
    assert_eq!(key.get(Field::NwTos), 0b11);
    key.write(Subfield::whole(Field::ArpOp), 0x102);
    assert_eq!(key.get(Field::ArpOp), 2);
}

#[test]
fn debug_text_names_the_fields_that_are_set() {
    let mut key = Key::default();
    key.set(Field::ArpOp, 2);
    assert_eq!(format!("{key:?}"), r#"{"arp_op": 0x2}"#);
}
