//! What must hold of every input from outside, said once: for the fuzz targets in `fuzz/`, and for
//! `tests/corpus.rs`, which checks the same without cargo-fuzz.
//!
//! # Contract
//!
//! A [`Target`]'s `check` takes any bytes, and panics where a property fails:
//!
//! * nothing it calls panics, by arithmetic overflow included;
//! * reading takes memory within a small multiple of the input ([`memory`]);
//! * what was read, written and read again is the same. Where that can't be, the exception and its
//!   reason stand beside the property: [`wire`], [`text`], [`frame`].
//!
//! This crate is no part of the program: nothing but tests and fuzz targets may link it, for it
//! brings a global allocator that counts.

#![allow(clippy::panic, reason = "a property fails by panicking")]

pub mod corpus;
pub mod mutate;

mod cluster;
mod cni;
mod filter;
mod frame;
mod memory;
mod text;
mod tunnel;
mod wire;

/// One decoder, or a few that belong together, and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the fuzz target, and of the file in `corpus/`.
    pub name: &'static str,
    /// Panics where a property fails.
    pub check: fn(&[u8]),
    /// What the input is, which is how the corpus spells it and how it is mutated.
    pub input: Input,
}

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Bytes of a protocol.
    Bytes,
    /// UTF-8.
    Text,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "message", check: wire::message, input: Input::Bytes },
    Target { name: "flow_mod", check: wire::flow_mod, input: Input::Bytes },
    Target { name: "stream", check: wire::stream, input: Input::Bytes },
    Target { name: "flows", check: text::flows, input: Input::Text },
    Target { name: "ports", check: text::ports, input: Input::Text },
    Target { name: "packet", check: text::packet, input: Input::Text },
    Target { name: "filter", check: filter::filter, input: Input::Text },
    Target { name: "frame", check: frame::frame, input: Input::Bytes },
    Target { name: "tunnel", check: tunnel::tunnel, input: Input::Bytes },
    Target { name: "cluster", check: cluster::cluster, input: Input::Text },
    Target { name: "cni", check: cni::cni, input: Input::Text },
];

/// Check an input of the target called `name`.
///
/// # Panics
///
/// Where a property fails, and where no target has that name.
pub fn check(name: &str, input: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.check)(input),
        None => panic!("no target is called {name}"),
    }
}
