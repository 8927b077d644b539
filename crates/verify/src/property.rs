//! Properties of one's own: a line each.
//!
//! ```text
//! # The frontend can't speak as the gateway.
//! never:  in_port=frontend-a3ba2f,arp,arp_spa=10.222.1.1 => output antrea-gw0
//! always: in_port=antrea-gw0,ip,nw_dst=10.222.2.0/24,nw_ttl=64 given ct_state=+new => output antrea-tun0
//! never:  in_port=antrea-tun0,arp => output
//! always: in_port=backend1-bab86f,ipv6 => drop
//! ```
//!
//! A line is `never:` or `always:`, a match as flows have it (nothing for every packet), perhaps `given` and
//! what ct() answers first (`ct_state`, `ct_mark`, `ct_label`), an arrow, and what happens: `output` (the packet leaves
//! somewhere), `output PORT`, `controller`, `drop` (it leaves nowhere) or `table N` (it comes there); several
//! with `or` between. Lines that begin with `#` say nothing.

use crate::bdd::Bdd;
use crate::explore::What;
use crate::prove::{Bridge, World, from, leaves};
use crate::replay::{Trace, Witness};
use crate::report::Verdict;
use footbridge_openflow::text::{ParseError, parse_match, parse_port};
use footbridge_openflow::{Match, PortNames, PortNo};
use footbridge_pipeline::PortKind;
use winnow::ascii::{dec_uint, multispace1, space0, space1};
use winnow::combinator::{alt, eof, opt, preceded, separated, terminated};
use winnow::prelude::*;
use winnow::token::{take_until, take_while};

/// A line of a file of properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its line in the file.
    pub line: usize,
    /// Its text.
    pub text: String,
    kind: Kind,
    packets: Match,
    given: Match,
    outcomes: Vec<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Never,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Output,
    OutputTo(PortNo),
    Controller,
    Drop,
    Table(u8),
}

/// Why a file holds something else than properties.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct PropertyError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// What is wrong at a byte of a line.
struct Wrong {
    at: usize,
    problem: String,
}

/// Read a file of properties.
///
/// # Errors
/// The first line that is none, and the place.
pub fn parse_properties(text: &str, file: &str, names: &PortNames) -> Result<Vec<Property>, PropertyError> {
    let mut properties = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let property = parse_line(line, names).map_err(|Wrong { at, problem }| PropertyError {
            file: file.to_owned(),
            line: index + 1,
            column: line.char_indices().take_while(|(i, _)| *i < at).count() + 1,
            problem,
        })?;
        properties.push(Property { line: index + 1, ..property });
    }
    Ok(properties)
}

fn parse_line(line: &str, names: &PortNames) -> Result<Property, Wrong> {
    let mut rest = line;
    let wrong =
        |rest: &str, problem: &str| Wrong { at: line.len() - rest.len(), problem: problem.to_owned() };
    let kind = kind(&mut rest).map_err(|_| wrong(rest, "expected 'never:' or 'always:'"))?;
    let start = line.len() - rest.len();
    let condition = condition(&mut rest).map_err(|_| wrong(rest, "expected '=>' and what happens"))?;
    let (packets, given) = match condition.split_once(" given ") {
        Some((packets, given)) => (packets, Some((start + packets.len() + " given ".len(), given))),
        None => (condition, None),
    };
    let read = |at: usize, text: &str| {
        let blank = text.len() - text.trim_start().len();
        parse_match(text.trim(), names).map_err(|error| at_column(line, at + blank, &error))
    };
    let packets = read(start, packets)?;
    let given = given.map_or(Ok(Match::any()), |(at, given)| read(at, given))?;
    let mut outcomes = Vec::new();
    for word in separated(1.., word, (multispace1::<_, winnow::error::EmptyError>, "or", space1))
        .parse_next(&mut rest)
        .unwrap_or_else(|_| Vec::<&str>::new())
    {
        outcomes.push(outcome(line, word, names)?);
    }
    if outcomes.is_empty() {
        return Err(wrong(rest, EXPECTED));
    }
    preceded(space0::<_, winnow::error::EmptyError>, eof)
        .parse_next(&mut rest)
        .map_err(|_| wrong(rest.trim_start(), "expected ' or ' or the line's end"))?;
    Ok(Property { line: 0, text: line.trim().to_owned(), kind, packets, given, outcomes })
}

const EXPECTED: &str = "expected 'output', 'output PORT', 'controller', 'drop' or 'table N'";

fn kind(input: &mut &str) -> Result<Kind, winnow::error::EmptyError> {
    let word = alt(("never".value(Kind::Never), "always".value(Kind::Always)));
    terminated(preceded(space0, word), (space0, ':', space0)).parse_next(input)
}

fn condition<'a>(input: &mut &'a str) -> Result<&'a str, winnow::error::EmptyError> {
    terminated(take_until(0.., "=>"), ("=>", space0)).parse_next(input)
}

/// One outcome's text: a word and what belongs to it.
fn word<'a>(input: &mut &'a str) -> Result<&'a str, winnow::error::EmptyError> {
    let name = || take_while(1.., |c: char| !c.is_whitespace());
    (name(), opt(preceded(space1, name()).verify(|second: &str| second != "or"))).take().parse_next(input)
}

fn outcome(line: &str, text: &str, names: &PortNames) -> Result<Outcome, Wrong> {
    let at = text.as_ptr() as usize - line.as_ptr() as usize;
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest_at = at + text.len() - rest.trim_start().len();
    let rest = rest.trim();
    match (word, rest) {
        ("output", "") => Ok(Outcome::Output),
        ("output", port) => parse_port(port, names)
            .ok()
            .filter(|port| port.is_ordinary())
            .map(Outcome::OutputTo)
            .ok_or_else(|| Wrong { at: rest_at, problem: format!("'{port}' is no port of the bridge") }),
        ("controller", "") => Ok(Outcome::Controller),
        ("drop", "") => Ok(Outcome::Drop),
        ("table", number) => dec_uint::<_, u8, winnow::error::EmptyError>
            .parse(number)
            .map(Outcome::Table)
            .map_err(|_| Wrong { at: rest_at, problem: "expected a table's number, 0 to 255".to_owned() }),
        _ => Err(Wrong { at, problem: EXPECTED.to_owned() }),
    }
}

/// An error of the match, whose column counts from `at`.
fn at_column(line: &str, at: usize, error: &ParseError) -> Wrong {
    let tail = line.get(at..).unwrap_or_default();
    let within = tail.char_indices().nth(error.column - 1).map_or(tail.len(), |(i, _)| i);
    Wrong { at: at + within, problem: error.problem.to_string() }
}

/// Prove or refute a property.
pub(crate) fn ask(bridge: &mut Bridge<'_>, world: &mut World, property: &Property) -> Verdict {
    let packets = bridge.set(world, &property.packets);
    let given = world.space.answers(&mut world.sets, &property.given);
    let mut packets = world.sets.and(packets, given);
    for number in 0..bridge.found.connections {
        // What is never asked is answered consistently too.
        let consistent = world.space.consistent(&mut world.sets, number);
        packets = world.sets.and(packets, consistent);
    }
    let happening: Vec<Bdd> =
        property.outcomes.iter().map(|outcome| happening(bridge, world, *outcome)).collect();
    let happening = world.sets.union(happening);
    let (wrong, what) = match property.kind {
        Kind::Never => (world.sets.and(packets, happening), "it happens"),
        Kind::Always => (world.sets.without(packets, happening), "it does not happen"),
    };
    let (kind, outcomes) = (property.kind, property.outcomes.clone());
    crate::claims::verdict(bridge.refute(world, wrong, what, |trace, _: &Witness| {
        outcomes.iter().any(|outcome| happened(*outcome, trace)) == (kind == Kind::Never)
    }))
}

/// The packets for which something happens.
fn happening(bridge: &Bridge<'_>, world: &mut World, outcome: Outcome) -> Bdd {
    match outcome {
        Outcome::Output => {
            bridge.union(world, |event| leaves(event) && !matches!(event.what, What::Controller(_)))
        }
        Outcome::Controller => bridge.union(world, |event| matches!(event.what, What::Controller(_))),
        Outcome::Drop => {
            let left = bridge.union(world, leaves);
            world.sets.without(bridge.valid, left)
        }
        Outcome::Table(table) => bridge.arrived(table),
        Outcome::OutputTo(port) => {
            let sent = bridge.union(world, |event| event.what == What::Sent(port));
            let own = bridge.set(world, &from(port));
            let back = bridge.union(world, |event| event.what == What::Back);
            let back = world.sets.and(back, own);
            let switched = match bridge.ports.kind(port) {
                Some(PortKind::Ordinary) => bridge.union(world, |event| event.what == What::Normal),
                _ => Bdd::NONE,
            };
            let switched = world.sets.without(switched, own);
            world.sets.union([sent, back, switched])
        }
    }
}

fn happened(outcome: Outcome, trace: &Trace) -> bool {
    match outcome {
        Outcome::Output => !trace.outputs.is_empty(),
        Outcome::OutputTo(port) => trace.outputs.iter().any(|(to, _)| *to == port),
        Outcome::Controller => !trace.controllers.is_empty(),
        Outcome::Drop => !trace.left(),
        Outcome::Table(table) => trace.came_to(table),
    }
}

#[cfg(test)]
mod tests;
