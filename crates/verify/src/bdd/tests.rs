//! Sets against truth tables.

use super::*;

const VARIABLES: u32 = 6;

/// A set, and whether it has each of the 64 assignments.
fn random_set(sets: &mut Sets, random: &mut u64, depth: u32) -> (Bdd, u64) {
    let mut next = |n: u64| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random % n
    };
    if depth == 0 {
        let (variable, value) = (next(VARIABLES.into()) as u32, next(2) == 1);
        let table =
            (0..64).filter(|row| (row >> variable & 1 == 1) == value).fold(0, |all, row| all | 1 << row);
        return (sets.literal(variable, value), table);
    }
    let operation = next(3);
    let ((a, in_a), (b, in_b)) = (random_set(sets, random, depth - 1), random_set(sets, random, depth - 1));
    match operation {
        0 => (sets.and(a, b), in_a & in_b),
        1 => (sets.or(a, b), in_a | in_b),
        _ => (sets.without(a, b), in_a & !in_b),
    }
}

fn assigned(row: u32) -> Vec<Level> {
    (0..VARIABLES).filter(|variable| row >> variable & 1 == 1).collect()
}

#[test]
fn agrees_with_truth_tables() {
    for seed in 1..200_u64 {
        let mut sets = Sets::default();
        let (set, table) = random_set(&mut sets, &mut seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 5);
        for row in 0..64 {
            assert_eq!(sets.contains(set, &assigned(row)), table >> row & 1 == 1, "seed {seed}, row {row}");
        }
        let fewest = (0..64_u32).filter(|row| table >> row & 1 == 1).map(u32::count_ones).min();
        let smallest = sets.smallest(set);
        assert_eq!(smallest.as_ref().map(|set| set.len() as u32), fewest, "seed {seed}");
        assert!(smallest.is_none_or(|assigned| sets.contains(set, &assigned)), "seed {seed}");
        let mut again = Bdd::NONE;
        for mut path in sets.paths(set, 1000) {
            let path = sets.cube(&mut path);
            again = sets.or(again, path);
        }
        assert_eq!(again, set, "seed {seed}: the paths are the set");
    }
}

#[test]
fn equal_sets_are_equal_numbers() {
    let mut sets = Sets::default();
    let (a, b) = (sets.literal(1, true), sets.literal(2, false));
    let both = sets.and(a, b);
    assert_eq!(sets.cube(&mut vec![(2, false), (1, true)]), both);
    assert_eq!(sets.cube(&mut vec![(2, false), (2, true)]), Bdd::NONE);
    let (not_a, not_b) = (sets.not(a), sets.not(b));
    let either = sets.or(not_a, not_b);
    assert_eq!(sets.not(either), both);
    let same = sets.equal(1, 2);
    let in_same = sets.overlap(same, both);
    assert!(!in_same);
}

#[test]
fn rows_are_the_union_of_their_cubes() {
    let mut sets = Sets::default();
    let levels = [1, 3, 4, 9];
    let mut rows: Vec<Vec<bool>> =
        [3, 9, 1, 9, 12].map(|row: u32| (0..4).map(|bit| row >> bit & 1 == 1).collect()).to_vec();
    let mut union = Bdd::NONE;
    for row in &rows {
        let cube = sets.cube(&mut levels.into_iter().zip(row.iter().copied()).collect());
        union = sets.or(union, cube);
    }
    assert_eq!(sets.rows(&levels, &mut rows), union);
    assert_eq!(sets.rows(&levels, &mut []), Bdd::NONE);
}

/// What a node of many peers asks for: paths cut out of a large set cost the path.
#[test]
fn cutting_a_path_costs_the_path() {
    let mut sets = Sets::default();
    let mut set = Bdd::ALL;
    for number in 0..2000_u32 {
        let mut literals = (0..16).map(|bit| (15 - bit, number >> bit & 1 == 1)).collect();
        let cube = sets.cube(&mut literals);
        set = sets.without(set, cube);
    }
    assert!(sets.len() < 2000 * 40, "{} nodes", sets.len());
}
