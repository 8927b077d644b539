//! Sets of packets as binary decision diagrams.
//!
//! A [`Bdd`] is a set of assignments to numbered variables ("levels": lower ones are decided first).
//! Reduced and ordered, so that equal sets are equal numbers, and each operation costs no more than
//! the part of the diagrams in which they differ from a trivial set. All sets live in one [`Sets`].
//!
//! Ours rather than a library's because thousands of sets share most of their nodes here: each flow
//! of a table cuts a short path out of a large set, which must cost the path and not the set. Diagrams that are
//! values of their own are copied whole by every operation.
//!
//! # Limits
//!
//! Nodes are never freed. At [`MAX_NODES`] operations give the empty set and [`Sets::exhausted`] says
//! so: whoever asks for sets must ask for that before believing an answer.

/// A set of assignments, in some [`Sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bdd(u32);

impl Bdd {
    /// No assignment.
    pub const NONE: Bdd = Bdd(0);
    /// Every assignment.
    pub const ALL: Bdd = Bdd(1);

    /// Whether no assignment is in the set.
    pub fn is_none(self) -> bool {
        self == Bdd::NONE
    }
}

/// A variable's place in the order.
pub type Level = u32;

/// As many nodes as there may be: about half a gigabyte.
pub const MAX_NODES: usize = 24 << 20;

const LEAF: Level = Level::MAX;
/// How many results are remembered at first; then as many as there are places for nodes.
const CACHED: usize = 1 << 17;
/// And how many places there are for nodes at first.
const PLACES: usize = 1 << 18;
/// How much more room there is each time: all nodes are moved then.
const GROWTH: usize = 4;
/// As many results as are remembered at most.
const MOST_CACHED: usize = 1 << 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    level: Level,
    low: Bdd,
    high: Bdd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Operation {
    And = 1,
    Or,
    Without,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cached {
    operation: u32,
    a: u32,
    b: u32,
    result: u32,
}

/// The diagrams' nodes.
#[derive(Debug)]
pub struct Sets {
    nodes: Vec<Node>,
    /// Node numbers by the hash of the node; 0 is vacant.
    unique: Vec<u32>,
    /// The last results, one a slot: a lost one is computed again.
    cache: Vec<Cached>,
    exhausted: bool,
}

impl Default for Sets {
    fn default() -> Sets {
        let leaf = |leaf| Node { level: LEAF, low: leaf, high: leaf };
        Sets {
            nodes: vec![leaf(Bdd::NONE), leaf(Bdd::ALL)],
            unique: vec![0; PLACES],
            cache: vec![Cached::default(); CACHED],
            exhausted: false,
        }
    }
}

impl Sets {
    /// What is in both.
    pub fn and(&mut self, a: Bdd, b: Bdd) -> Bdd {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        match (a, b) {
            (Bdd::NONE, _) => Bdd::NONE,
            (Bdd::ALL, other) => other,
            _ if a == b => a,
            _ => self.apply(Operation::And, a, b),
        }
    }

    /// What is in either.
    pub fn or(&mut self, a: Bdd, b: Bdd) -> Bdd {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        match (a, b) {
            (Bdd::NONE, other) => other,
            (Bdd::ALL, _) => Bdd::ALL,
            _ if a == b => a,
            _ => self.apply(Operation::Or, a, b),
        }
    }

    /// What is in `a` and not in `b`.
    pub fn without(&mut self, a: Bdd, b: Bdd) -> Bdd {
        match (a, b) {
            (Bdd::NONE, _) | (_, Bdd::ALL) => Bdd::NONE,
            (_, Bdd::NONE) => a,
            _ if a == b => Bdd::NONE,
            _ => self.apply(Operation::Without, a, b),
        }
    }

    /// What is not in `a`.
    pub fn not(&mut self, a: Bdd) -> Bdd {
        self.without(Bdd::ALL, a)
    }

    /// The union of all, joined in pairs so that no step is larger than it must be.
    pub fn union(&mut self, sets: impl IntoIterator<Item = Bdd>) -> Bdd {
        let mut sets: Vec<Bdd> = sets.into_iter().collect();
        while sets.len() > 1 {
            sets = sets
                .chunks(2)
                .map(|pair| pair.iter().fold(Bdd::NONE, |all, set| self.or(all, *set)))
                .collect();
        }
        sets.first().copied().unwrap_or(Bdd::NONE)
    }

    /// Whether the sets have an assignment in common.
    pub fn overlap(&mut self, a: Bdd, b: Bdd) -> bool {
        !self.and(a, b).is_none()
    }

    /// The assignments in which one variable is `value`.
    pub fn literal(&mut self, level: Level, value: bool) -> Bdd {
        match value {
            true => self.node(level, Bdd::NONE, Bdd::ALL),
            false => self.node(level, Bdd::ALL, Bdd::NONE),
        }
    }

    /// The assignments in which each of these variables has its value; sorts them. A variable with
    /// both values gives the empty set.
    pub fn cube(&mut self, literals: &mut Vec<(Level, bool)>) -> Bdd {
        literals.sort_unstable();
        literals.dedup();
        if literals.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Bdd::NONE;
        }
        literals.iter().rev().fold(Bdd::ALL, |below, (level, value)| match value {
            true => self.node(*level, Bdd::NONE, below),
            false => self.node(*level, below, Bdd::NONE),
        })
    }

    /// The assignments in which some variables, of rising levels, have the values of one of the rows; each row
    /// has a value for each. Costs no more than the diagram has nodes, where a union of cubes would be built
    /// over and over.
    pub fn rows(&mut self, levels: &[Level], rows: &mut [Vec<bool>]) -> Bdd {
        rows.sort_unstable();
        self.sorted_rows(levels, rows, 0)
    }

    fn sorted_rows(&mut self, levels: &[Level], rows: &[Vec<bool>], depth: usize) -> Bdd {
        match (rows, levels.get(depth)) {
            ([], _) => Bdd::NONE,
            (_, None) => Bdd::ALL,
            (_, Some(level)) => {
                let set = |row: &Vec<bool>| row.get(depth).copied().unwrap_or(false);
                let (low, high) = rows.split_at(rows.partition_point(|row| !set(row)));
                let low = self.sorted_rows(levels, low, depth + 1);
                let high = self.sorted_rows(levels, high, depth + 1);
                self.node(*level, low, high)
            }
        }
    }

    /// The assignments in which two variables are equal.
    pub fn equal(&mut self, a: Level, b: Level) -> Bdd {
        if a == b {
            return Bdd::ALL;
        }
        let (first, second) = (a.min(b), a.max(b));
        let (unset, set) = (self.literal(second, false), self.literal(second, true));
        self.node(first, unset, set)
    }

    /// An assignment of the set with the fewest variables set, as the variables that are.
    pub fn smallest(&self, set: Bdd) -> Option<Vec<Level>> {
        if set.is_none() {
            return None;
        }
        let mut costs = hashbrown::HashMap::new();
        self.cost(set, &mut costs);
        let (mut at, mut chosen) = (set, Vec::new());
        while at != Bdd::ALL {
            let Node { level, low, high } = self.nodes[at.0 as usize];
            let of = |child: Bdd| costs.get(&child).copied().unwrap_or(u32::MAX);
            if of(low) <= of(high).saturating_add(1) {
                at = low;
            } else {
                chosen.push(level);
                at = high;
            }
        }
        Some(chosen)
    }

    /// Whether the set has the assignment in which exactly these variables are set; sorted.
    pub fn contains(&self, set: Bdd, assigned: &[Level]) -> bool {
        let mut at = set;
        while at > Bdd::ALL {
            let Node { level, low, high } = self.nodes[at.0 as usize];
            at = if assigned.binary_search(&level).is_ok() { high } else { low };
        }
        at == Bdd::ALL
    }

    /// Some paths to ALL, `limit` at most: each the literals on it. Together they are the set if there
    /// are fewer than `limit`.
    pub fn paths(&self, set: Bdd, limit: usize) -> Vec<Vec<(Level, bool)>> {
        let mut found = Vec::new();
        let mut waiting = vec![(set, Vec::new())];
        while let Some((at, path)) = waiting.pop() {
            match at {
                _ if found.len() >= limit => break,
                Bdd::NONE => {}
                Bdd::ALL => found.push(path),
                _ => {
                    let Node { level, low, high } = self.nodes[at.0 as usize];
                    let with = |value| [&path[..], &[(level, value)]].concat();
                    waiting.push((high, with(true)));
                    waiting.push((low, with(false)));
                }
            }
        }
        found
    }

    /// The variables that some set tells apart; sorted.
    pub fn variables(&self) -> Vec<Level> {
        let levels = self.nodes.iter().map(|node| node.level).filter(|level| *level != LEAF);
        levels.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Whether a set grew too large: what was answered since is worth nothing.
    pub fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: the two leaves are always there.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The fewest variables set on a way to ALL.
    fn cost(&self, at: Bdd, costs: &mut hashbrown::HashMap<Bdd, u32>) -> u32 {
        if let Some(known) = costs.get(&at) {
            return *known;
        }
        let cost = match at {
            Bdd::NONE => u32::MAX,
            Bdd::ALL => 0,
            _ => {
                let Node { low, high, .. } = self.nodes[at.0 as usize];
                self.cost(low, costs).min(self.cost(high, costs).saturating_add(1))
            }
        };
        costs.insert(at, cost);
        cost
    }

    fn apply(&mut self, operation: Operation, a: Bdd, b: Bdd) -> Bdd {
        let slot = self.cache_slot(operation as u32, a.0, b.0);
        let cached = self.cache[slot];
        if (cached.operation, cached.a, cached.b) == (operation as u32, a.0, b.0) {
            return Bdd(cached.result);
        }
        let (of_a, of_b) = (self.nodes[a.0 as usize], self.nodes[b.0 as usize]);
        let level = of_a.level.min(of_b.level);
        let cut = |node: Node, whole: Bdd| match node.level == level {
            true => (node.low, node.high),
            false => (whole, whole),
        };
        let ((a_low, a_high), (b_low, b_high)) = (cut(of_a, a), cut(of_b, b));
        let (low, high) = match operation {
            Operation::And => (self.and(a_low, b_low), self.and(a_high, b_high)),
            Operation::Or => (self.or(a_low, b_low), self.or(a_high, b_high)),
            Operation::Without => (self.without(a_low, b_low), self.without(a_high, b_high)),
        };
        let result = self.node(level, low, high);
        // There may be more room than before.
        let slot = self.cache_slot(operation as u32, a.0, b.0);
        self.cache[slot] = Cached { operation: operation as u32, a: a.0, b: b.0, result: result.0 };
        result
    }

    fn node(&mut self, level: Level, low: Bdd, high: Bdd) -> Bdd {
        if low == high {
            return low;
        }
        let node = Node { level, low, high };
        let mut slot = self.slot(node);
        loop {
            match self.unique[slot] {
                0 => break,
                index if self.nodes[index as usize] == node => return Bdd(index),
                _ => slot = (slot + 1) & (self.unique.len() - 1),
            }
        }
        if self.nodes.len() >= MAX_NODES {
            self.exhausted = true;
            return Bdd::NONE;
        }
        let index = self.nodes.len() as u32;
        self.unique[slot] = index;
        self.nodes.push(node);
        if self.nodes.len() * 2 > self.unique.len() {
            self.grow();
        }
        Bdd(index)
    }

    fn slot(&self, node: Node) -> usize {
        (hash(node.level, node.low.0, node.high.0) >> 32) as usize & (self.unique.len() - 1)
    }

    fn grow(&mut self) {
        self.unique = vec![0; self.unique.len() * GROWTH];
        self.grow_cache();
        for index in 2..self.nodes.len() {
            let mut slot = self.slot(self.nodes[index]);
            while self.unique[slot] != 0 {
                slot = (slot + 1) & (self.unique.len() - 1);
            }
            self.unique[slot] = index as u32;
        }
    }
}

impl Sets {
    /// Room for more results, with those that there are.
    fn grow_cache(&mut self) {
        let size = self.unique.len().min(MOST_CACHED);
        if size > self.cache.len() {
            let known = std::mem::replace(&mut self.cache, vec![Cached::default(); size]);
            for result in known.into_iter().filter(|result| result.operation != 0) {
                let slot = self.cache_slot(result.operation, result.a, result.b);
                self.cache[slot] = result;
            }
        }
    }

    fn cache_slot(&self, operation: u32, a: u32, b: u32) -> usize {
        (hash(operation, a, b) >> 32) as usize & (self.cache.len() - 1)
    }
}

/// Fibonacci hashing of three numbers.
fn hash(a: u32, b: u32, c: u32) -> u64 {
    let mixed = (u64::from(b) << 32 | u64::from(c)) ^ u64::from(a).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests;
