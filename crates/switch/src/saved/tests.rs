use super::*;
use footbridge_pipeline::Time;
use footbridge_pipeline::conntrack::{Endpoint, Progress, Tuple};

fn connection(port: u16) -> Connection {
    let end = |last: u8, port| Endpoint { address: [10, 0, 0, last].into(), port };
    let original = Tuple { proto: 17, icmp_type: 0, src: end(1, port), dst: end(2, 53) };
    let (zone, mark, label) = (65520, 0x20, 1 << 100);
    Connection {
        zone,
        original,
        progress: Progress::Replied,
        replied: true,
        mark,
        label,
        expires: Time(u64::MAX),
    }
}

#[test]
fn what_is_saved_is_loaded_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conntrack");
    let connections = vec![connection(1), connection(2)];
    assert_eq!(save(&path, &connections).unwrap(), 2);
    assert_eq!(load(&path).unwrap(), Some(connections));
    assert_eq!(load(&path).unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn connections_of_an_earlier_boot_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conntrack");
    save(&path, &[connection(1)]).unwrap();
    let text = fs::read_to_string(&path).unwrap().replace(&boot_id().unwrap(), "another");
    fs::write(&path, text).unwrap();
    assert_eq!(load(&path).unwrap(), Some(vec![]));
}

#[test]
fn a_damaged_file_is_refused_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conntrack");
    save(&path, &[connection(1), connection(2)]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 10]).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, SavedError::Damaged { line: 3, .. }), "{error}");
    fs::write(&path, "").unwrap();
    assert_eq!(load(&path).unwrap(), Some(vec![]));
}
