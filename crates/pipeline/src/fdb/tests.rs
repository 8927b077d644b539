use super::*;

const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn host(number: u16) -> MacAddr {
    let [a, b] = number.to_be_bytes();
    MacAddr([2, 1, 0, 0, a, b])
}

#[test]
fn an_address_is_remembered_for_300_seconds_after_its_last_packet() {
    let mut fdb = Fdb::default();
    fdb.learn(HOST, 0, PortNo(1), at(0));
    fdb.learn(HOST, 0, PortNo(1), at(100));
    assert_eq!(fdb.lookup(HOST, 0, at(399)), Some(PortNo(1)));
    assert_eq!(fdb.lookup(HOST, 0, at(400)), None);
    assert_eq!(fdb.entries(at(400)), []);
}

#[test]
fn an_address_moves_with_its_packets() {
    let mut fdb = Fdb::default();
    fdb.learn(HOST, 0, PortNo(1), at(0));
    fdb.learn(HOST, 0, PortNo(2), at(1));
    assert_eq!(fdb.lookup(HOST, 0, at(1)), Some(PortNo(2)));
}

#[test]
fn group_addresses_are_not_learned() {
    let mut fdb = Fdb::default();
    fdb.learn(MacAddr::BROADCAST, 0, PortNo(1), at(0));
    fdb.learn(MacAddr([1, 0, 0x5e, 0, 0, 1]), 0, PortNo(1), at(0));
    assert_eq!(fdb.entries(at(0)), []);
}

#[test]
fn a_full_table_gives_up_the_oldest_address_of_the_fullest_port() {
    let mut fdb = Fdb::with_limit(10);
    fdb.learn(HOST, 0, PortNo(1), at(0));
    for number in 0..1000 {
        fdb.learn(host(number), 0, PortNo(2), at(1));
    }
    assert_eq!(fdb.lookup(HOST, 0, at(1)), Some(PortNo(1)));
    assert_eq!(fdb.lookup(host(999), 0, at(1)), Some(PortNo(2)));
    assert_eq!(fdb.lookup(host(990), 0, at(1)), None);
    assert_eq!(fdb.entries(at(1)).len(), 10);
}

#[test]
fn a_port_that_goes_takes_its_addresses_along() {
    let mut fdb = Fdb::default();
    fdb.learn(HOST, 0, PortNo(1), at(0));
    fdb.learn(host(1), 0, PortNo(2), at(0));
    fdb.remove_port(PortNo(1));
    assert_eq!(fdb.lookup(HOST, 0, at(0)), None);
    assert_eq!(fdb.entries(at(0)).len(), 1);
}
