//! Instructions: OpenFlow 1.1 and later.
//!
//! OpenFlow 1.3.5 §7.2.4, 1.5.1 §7.2.5: each kind at most once, in any order on the wire; as actions
//! they stand in the order of their execution. `meter` is an action from 1.5 on.

use super::super::Context;
use super::super::bytes::{Reader, U16, U32, U64, layout, patch_u16, put};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::version::Version;
use super::decode::{Place, list};
use super::encode::Encoder;
use super::{ALIGN, Header};
use crate::action::Action;
use crate::matching::Match;

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;

layout! {
    /// ofp_instruction_goto_table, behind the header
    struct Goto { table: u8, pad: [u8; 3], }
    /// ofp_instruction_write_metadata, behind the header
    struct Metadata { pad: [u8; 4], value: U64, mask: U64, }
}

/// Padding behind the header of those that hold actions, and of clear_actions.
const PAD: usize = 4;

fn refuse(code: ErrorCode) -> Refusal {
    Refusal::new(code, "an instruction")
}

/// The instructions that fill `bytes`, as one list of actions; in OpenFlow 1.0 a list of actions.
pub(crate) fn decode(bytes: &[u8], context: Context<'_>) -> Result<Vec<Action>, Refusal> {
    if context.version == Version::V10 {
        // Requests are asked for an order besides: see `check_order`.
        return list(bytes, context, Place::Flow, 0);
    }
    if !bytes.len().is_multiple_of(ALIGN) {
        return Err(refuse(ErrorCode::BicBadLen));
    }
    let (mut meter, mut apply, mut clear, mut write, mut metadata, mut goto) =
        (None, None, None, None, None, None);
    let mut reader = Reader::new(bytes, ErrorCode::BicBadLen, "an instruction");
    while !reader.is_empty() {
        let head: &Header = reader.peek()?;
        let length = usize::from(head.length.get());
        if length < size_of::<Header>() || !length.is_multiple_of(ALIGN) {
            return Err(refuse(ErrorCode::BicBadLen));
        }
        let mut body = reader.sub(length)?;
        let _: &Header = body.take()?;
        match head.kind.get() {
            METER if context.version != Version::V15 => {
                set(&mut meter, Action::Meter(body.take::<U32>()?.get()))?;
                body.end()?;
            }
            APPLY_ACTIONS => {
                body.bytes(PAD)?;
                set(&mut apply, body.rest())?;
            }
            CLEAR_ACTIONS => {
                body.bytes(PAD)?;
                body.end()?;
                set(&mut clear, Action::ClearActions)?;
            }
            WRITE_ACTIONS => {
                body.bytes(PAD)?;
                set(&mut write, body.rest())?;
            }
            WRITE_METADATA => {
                let layout: &Metadata = body.take()?;
                body.end()?;
                set(
                    &mut metadata,
                    Action::WriteMetadata { value: layout.value.get(), mask: layout.mask.get() },
                )?;
            }
            GOTO_TABLE => {
                let layout: &Goto = body.take()?;
                body.end()?;
                set(&mut goto, Action::GotoTable(layout.table))?;
            }
            EXPERIMENTER => return Err(refuse(ErrorCode::BicBadExperimenter)),
            _ => return Err(refuse(ErrorCode::BicUnknownInst)),
        }
    }
    // The actions inside are read when all instructions have been found well formed.
    let mut actions: Vec<Action> = meter.into_iter().collect();
    if let Some(bytes) = apply {
        actions.extend(list(bytes, context, Place::Flow, 0)?);
    }
    actions.extend(clear);
    if let Some(bytes) = write {
        actions.push(Action::WriteActions(list(bytes, context, Place::ActionSet, 0)?));
    }
    actions.extend([metadata, goto].into_iter().flatten());
    in_order(actions)
}

/// Nicira's form of write_metadata stands among actions, and still is an instruction: nothing but
/// goto_table comes behind it, and it stands once.
fn in_order(actions: Vec<Action>) -> Result<Vec<Action>, Refusal> {
    let mut behind = actions.iter().skip_while(|a| !matches!(a, Action::WriteMetadata { .. })).skip(1);
    if behind.all(|a| matches!(a, Action::GotoTable(_))) {
        Ok(actions)
    } else {
        Err(refuse(ErrorCode::BacUnsupportedOrder))
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refuse(ErrorCode::BicDupInst)),
    }
}

/// Append `actions` as instructions; in OpenFlow 1.0 as a list of actions.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    actions: &[Action],
    context: Context<'_>,
    matching: &Match,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(context, matching);
    if context.version == Version::V10 {
        return encoder.list(out, actions);
    }
    let mut rest = actions;
    while let Some((first, behind)) = rest.split_first() {
        let start = out.len();
        match first {
            Action::Meter(meter) if context.version != Version::V15 => {
                head(out, METER);
                put(out, U32::new(*meter));
                rest = behind;
            }
            Action::ClearActions => {
                head(out, CLEAR_ACTIONS);
                put(out, [0u8; PAD]);
                rest = behind;
            }
            Action::WriteActions(set) => {
                head(out, WRITE_ACTIONS);
                put(out, [0u8; PAD]);
                encoder.list(out, set)?;
                rest = behind;
            }
            Action::WriteMetadata { value, mask } => {
                head(out, WRITE_METADATA);
                put(out, Metadata { pad: [0; 4], value: U64::new(*value), mask: U64::new(*mask) });
                rest = behind;
            }
            Action::GotoTable(table) => {
                head(out, GOTO_TABLE);
                put(out, Goto { table: *table, pad: [0; 3] });
                rest = behind;
            }
            _ => {
                head(out, APPLY_ACTIONS);
                put(out, [0u8; PAD]);
                let count = rest.iter().take_while(|a| !is_instruction(a, context.version)).count();
                let (apply, behind) = rest.split_at(count);
                encoder.list(out, apply)?;
                rest = behind;
            }
        }
        let length = out.len() - start;
        if length > usize::from(u16::MAX) {
            return Err(EncodeError::TooLong { length });
        }
        patch_u16(out, start + 2, length);
    }
    Ok(())
}

fn head(out: &mut Vec<u8>, kind: u16) {
    put(out, Header { kind: U16::new(kind), length: U16::ZERO });
}

fn is_instruction(action: &Action, version: Version) -> bool {
    match action {
        Action::Meter(_) => version != Version::V15,
        Action::ClearActions
        | Action::WriteActions(_)
        | Action::WriteMetadata { .. }
        | Action::GotoTable(_) => true,
        _ => false,
    }
}
