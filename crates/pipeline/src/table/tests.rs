use super::*;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::parse_flow;
use proptest::prelude::*;

fn flow(text: &str) -> Flow {
    parse_flow(text, &PortNames::none()).unwrap()
}

fn pipeline(flows: &[&str]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for text in flows {
        pipeline.insert(flow(text), Time::default()).unwrap();
    }
    pipeline
}

fn key(fields: &[(Field, u128)]) -> Key {
    let mut key = Key::default();
    fields.iter().for_each(|(field, value)| key.set(*field, *value));
    key
}

fn cookie(pipeline: &Pipeline, key: &Key) -> Option<u64> {
    pipeline.lookup(0, key).map(|found| found.entry.flow.cookie)
}

const TCP_80: [(Field, u128); 5] = [
    (Field::EthType, 0x0800),
    (Field::NwProto, 6),
    (Field::TcpDst, 80),
    (Field::NwSrc, 0x0a00_0001),
    (Field::NwDst, 0x0a00_0002),
];

#[test]
fn the_highest_priority_wins_across_shapes() {
    let pipeline = pipeline(&[
        "cookie=1,priority=5 actions=drop",
        "cookie=2,priority=7,tcp actions=drop",
        "cookie=3,priority=6,tcp,tp_dst=80 actions=drop",
        "cookie=4,priority=9,udp actions=drop",
    ]);
    assert_eq!(cookie(&pipeline, &key(&TCP_80)), Some(2));
    assert_eq!(cookie(&pipeline, &Key::default()), Some(1));
}

#[test]
fn the_older_of_two_flows_of_equal_priority_wins_and_a_replaced_one_stays_the_older() {
    let mut pipeline =
        pipeline(&["cookie=1,priority=5,ip actions=drop", "cookie=2,priority=5,tcp actions=drop"]);
    assert_eq!(cookie(&pipeline, &key(&TCP_80)), Some(1));
    pipeline.insert(flow("cookie=3,priority=5,ip actions=drop"), Time::default()).unwrap();
    assert_eq!(cookie(&pipeline, &key(&TCP_80)), Some(3));
}

#[test]
fn one_match_may_stand_at_several_priorities() {
    let mut pipeline = Pipeline::new();
    let ids: Vec<FlowId> = [3, 9, 1, 7]
        .into_iter()
        .map(|priority| {
            let text = format!("cookie={priority},priority={priority},ip actions=drop");
            pipeline.insert(flow(&text), Time::default()).unwrap().entry.id
        })
        .collect();
    let mut seen = Vec::new();
    for id in [1, 3, 0, 2] {
        seen.extend(cookie(&pipeline, &key(&TCP_80)));
        pipeline.remove(ids[id]).unwrap();
    }
    assert_eq!(seen, [9, 7, 3, 1]);
    assert!(pipeline.is_empty() && pipeline.tables().next().is_none());
}

#[test]
fn a_replaced_flow_keeps_its_counters_unless_it_resets_them_and_its_age_restarts() {
    let mut pipeline = pipeline(&["ip actions=drop"]);
    pipeline.entries().next().unwrap().counters.hit(100, Time(5));
    let id = pipeline.insert(flow("ip actions=output:1"), Time(9)).unwrap().entry.id;
    let entry = pipeline.get(id).unwrap();
    assert_eq!((entry.counters.packets(), entry.counters.bytes(), entry.added), (1, 100, Time(9)));
    let id = pipeline.insert(flow("reset_counts,ip actions=output:2"), Time(10)).unwrap().entry.id;
    assert_eq!(pipeline.get(id).unwrap().counters.packets(), 0);
    assert_eq!(pipeline.len(), 1);
}

#[test]
fn flow_numbers_are_not_used_again() {
    let mut pipeline = Pipeline::new();
    let first = pipeline.insert(flow("ip actions=drop"), Time::default()).unwrap().entry.id;
    pipeline.remove(first).unwrap();
    let second = pipeline.insert(flow("ip actions=drop"), Time::default()).unwrap().entry.id;
    assert_ne!(first, second);
    assert!(pipeline.get(first).is_none() && pipeline.remove(first).is_none());
}

#[test]
fn dumps_by_table_then_shapes_by_priority_then_in_the_order_of_adding() {
    let pipeline = pipeline(&[
        "cookie=1,table=1,priority=5,ip actions=drop",
        "cookie=2,priority=5,ip,nw_dst=10.0.0.2 actions=drop",
        "cookie=3,priority=7,tcp actions=drop",
        "cookie=4,priority=9,ip,nw_dst=10.0.0.1 actions=drop",
        "cookie=5,priority=7,in_port=1 actions=drop",
        "cookie=6,priority=1,udp actions=drop",
    ]);
    let cookies: Vec<u64> = pipeline.entries().map(|entry| entry.flow.cookie).collect();
    assert_eq!(cookies, [2, 4, 3, 6, 5, 1]);
}

const CONJUNCTIVE: [&str; 6] = [
    "cookie=1,priority=10,ip,nw_src=10.0.0.1 actions=conjunction(5,1/2)",
    "cookie=2,priority=10,tcp,tp_dst=80 actions=conjunction(5,2/2)",
    "cookie=3,priority=4,conj_id=5,ip actions=drop",
    "cookie=4,priority=8,ip,nw_dst=10.0.0.2 actions=drop",
    "cookie=5,priority=0 actions=drop",
    "cookie=6,priority=12,udp actions=drop",
];

#[test]
fn a_complete_conjunction_is_looked_up_by_its_id_over_plain_flows_between() {
    // The plain flow of priority 8 takes the packet too, with the id and without: it wins the second
    // lookup, as in Open vSwitch. Without it the flow of the id does.
    let with_plain = pipeline(&CONJUNCTIVE);
    assert_eq!(cookie(&with_plain, &key(&TCP_80)), Some(4));
    let pipeline =
        pipeline(&CONJUNCTIVE.iter().copied().filter(|text| !text.contains("cookie=4")).collect::<Vec<_>>());
    let packet = key(&TCP_80);
    let found = pipeline.lookup(0, &packet).unwrap();
    assert_eq!((found.entry.flow.cookie, found.conjunction), (3, Some(5)));
}

#[test]
fn an_incomplete_conjunction_falls_to_the_next_lower_flow() {
    let pipeline = pipeline(&CONJUNCTIVE);
    let other_source = key(&[&TCP_80[..3], &[(Field::NwSrc, 1), (Field::NwDst, 1)]].concat());
    assert_eq!(cookie(&pipeline, &other_source), Some(5));
}

#[test]
fn parts_of_different_priorities_do_not_complete_a_conjunction() {
    let pipeline = pipeline(&[
        "cookie=1,priority=10,ip,nw_src=10.0.0.1 actions=conjunction(5,1/2)",
        "cookie=2,priority=9,tcp,tp_dst=80 actions=conjunction(5,2/2)",
        "cookie=3,priority=20,conj_id=5,ip actions=drop",
    ]);
    assert_eq!(cookie(&pipeline, &key(&TCP_80)), None);
}

#[test]
fn a_plain_flow_of_higher_priority_beats_a_conjunction() {
    let mut pipeline = pipeline(&CONJUNCTIVE);
    pipeline.insert(flow("cookie=9,priority=11,tcp actions=drop"), Time::default()).unwrap();
    assert_eq!(cookie(&pipeline, &key(&TCP_80)), Some(9));
}

#[test]
fn an_entry_costs_little_beside_its_flow() {
    // Slot, hash table entry and the counted box; the rest is the flow's own.
    let bookkeeping = size_of::<Option<Slot>>() + size_of::<Entry>() + 16 + 6;
    assert!(bookkeeping <= 420, "{bookkeeping} bytes");
}

proptest! {
    /// Against the plainest of definitions: the first of the sorted list that matches.
    #[test]
    fn finds_what_a_search_through_all_flows_finds(
        steps in prop::collection::vec((0u16..4, 0usize..6, 0u128..3, any::<bool>()), 1..40),
        packets in prop::collection::vec((0u128..3, 0u128..3), 1..10),
    ) {
        let fields = [Field::NwSrc, Field::NwDst];
        let mut pipeline = Pipeline::new();
        let mut all: Vec<(u16, Match, FlowId)> = Vec::new();
        for (priority, shape, value, add) in steps {
            let matching = match shape {
                0 => Match::any(),
                1 | 2 => Match::any().with(fields[shape - 1], value),
                3 => Match::any().with(fields[0], value).with(fields[1], value),
                _ => Match::any().with_masked(fields[shape - 4], value, 1u128),
            };
            let at = all.iter().position(|(p, m, _)| *p == priority && *m == matching);
            if add {
                let id = pipeline.insert(Flow::new(0, priority, 0, matching.clone(), vec![]), Time::default()).unwrap().entry.id;
                match at {
                    Some(at) => all[at].2 = id,
                    None => all.push((priority, matching, id)),
                }
            } else if let Some(at) = at {
                let (.., id) = all.remove(at);
                prop_assert!(pipeline.remove(id).is_some());
            }
        }
        prop_assert_eq!(pipeline.len(), all.len());
        prop_assert_eq!(pipeline.entries().count(), all.len());
        for (src, dst) in packets {
            let packet = key(&[(Field::NwSrc, src), (Field::NwDst, dst)]);
            let mut expected: Option<(u16, FlowId)> = None;
            for (priority, matching, id) in &all {
                if matching.matches(&packet) && expected.is_none_or(|(best, _)| *priority > best) {
                    expected = Some((*priority, *id));
                }
            }
            prop_assert_eq!(pipeline.lookup(0, &packet).map(|found| found.entry.id), expected.map(|(_, id)| id));
        }
    }
}

/// Everything that can be seen of a pipeline: flows in order with counters, and which takes a packet.
fn picture(pipeline: &Pipeline) -> Vec<(FlowId, Flow, Time, Time, u64)> {
    let entries = pipeline.entries();
    entries.map(|e| (e.id, e.flow.clone(), e.added, e.modified, e.counters.packets())).collect()
}

proptest! {
    /// Adds, replacements, modifications and removals, undone in reverse, leave no trace: flows, order,
    /// numbers, ages and counters are as before.
    #[test]
    fn what_is_undone_never_was(
        standing in prop::collection::vec((0u8..3, 0u16..3, 0usize..5), 0..12),
        changes in prop::collection::vec((0u8..4, 0u8..3, 0u16..3, 0usize..5), 0..20),
    ) {
        let matches = ["", "ip,", "tcp,", "ip,nw_dst=10.0.0.1,", "ip,nw_dst=10.0.0.2,"];
        let make = |table: u8, priority: u16, at: usize, actions: &str| {
            flow(&format!("table={table},priority={priority},{}actions={actions}", matches[at]))
        };
        let mut pipeline = Pipeline::new();
        for (table, priority, at) in standing {
            let id = pipeline.insert(make(table, priority, at, "drop"), Time(1)).unwrap().entry.id;
            pipeline.get(id).unwrap().counters.hit(60, Time(2));
        }
        let before = picture(&pipeline);
        enum Undo { Remove(FlowId), Restore(Displaced) }
        let undo = |inserted: Inserted| match inserted.replaced {
            Some(old) => Undo::Restore(old),
            None => Undo::Remove(inserted.entry.id),
        };
        let mut journal = Vec::new();
        for (what, table, priority, at) in changes {
            let new = make(table, priority, at, "output:1");
            let standing = pipeline.get_strict(table, priority, &new.matching).map(|entry| entry.id);
            match (what, standing) {
                (0 | 1, _) => journal.push(undo(pipeline.insert(new, Time(3)).unwrap())),
                (2, Some(id)) => {
                    let modified = pipeline.modify(id, &new.actions, Some(9), Time(3)).unwrap();
                    journal.extend(modified.map(undo));
                }
                (_, Some(id)) => journal.extend(pipeline.remove(id).map(Undo::Restore)),
                _ => {}
            }
        }
        for undo in journal.into_iter().rev() {
            match undo {
                Undo::Remove(id) => drop(pipeline.remove(id)),
                Undo::Restore(old) => pipeline.restore(old),
            }
        }
        prop_assert_eq!(picture(&pipeline), before);
        for entry in pipeline.entries() {
            let strict = pipeline.get_strict(entry.flow.table, entry.flow.priority, &entry.flow.matching);
            prop_assert_eq!(strict.map(|e| e.id), Some(entry.id));
            prop_assert_eq!(pipeline.get(entry.id).map(|e| e.id), Some(entry.id));
        }
    }

    /// The shapes that a filter passes over hold none of its flows.
    #[test]
    fn within_and_overlapping_are_what_a_look_at_every_flow_says(
        standing in prop::collection::vec((0u8..2, 0u16..3, 0usize..6), 0..20),
        asked in (0u8..2, 0u16..3, 0usize..6),
    ) {
        let matches =
            ["", "ip,", "tcp,", "ip,nw_dst=10.0.0.1,", "ip,nw_dst=10.0.0.0/8,", "tcp,tp_dst=80,"];
        let make = |(table, priority, at): (u8, u16, usize)| {
            flow(&format!("table={table},priority={priority},{}actions=drop", matches[at]))
        };
        let mut pipeline = Pipeline::new();
        standing.into_iter().for_each(|s| drop(pipeline.insert(make(s), Time(1)).unwrap()));
        let Flow { table, priority, matching, .. } = make(asked);
        let ids = |entries: &mut dyn Iterator<Item = &Arc<Entry>>| entries.map(|e| e.id).collect::<Vec<_>>();
        let mut subset = pipeline.table(table).filter(|e| e.flow.matching.is_subset_of(&matching));
        prop_assert_eq!(ids(&mut pipeline.within(Some(table), &matching)), ids(&mut subset));
        let mut overlapping = pipeline.table(table).filter(|e| {
            e.flow.priority == priority && e.flow.matching != matching && e.flow.matching.overlaps(&matching)
        });
        prop_assert_eq!(ids(&mut pipeline.overlapping(table, priority, &matching)), ids(&mut overlapping));
    }
}
