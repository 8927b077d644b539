//! Settings that messages change: who is told of what, the tunnel option mapping; and those that there
//! are not: groups, meters, tables' own.
//!
//! Pure: from what is and what is asked for to what will be, or the error.

use super::convert::TABLES;
use footbridge_openflow::wire::{
    ALL_TABLES, AsyncConfig, AsyncMask, ErrorCode, GroupMod, MeterMod, TableMod, TlvCommand, TlvMapping,
    TlvTable, TlvTableMod,
};

/// Bytes of all options in a Geneve header, and how many `tun_metadata` fields there are to map.
pub(super) const OPTION_SPACE: u32 = 252;
pub(super) const OPTION_FIELDS: u16 = 8;
/// OFPG_ALL
const ALL_GROUPS: u32 = 0xffff_fffc;

/// What a message says of an asynchronous configuration replaces what was; the rest stays.
pub(super) fn merge(config: &mut AsyncConfig, new: AsyncConfig) {
    fn one(mask: &mut AsyncMask, new: AsyncMask) {
        mask.primary = new.primary.or(mask.primary);
        mask.secondary = new.secondary.or(mask.secondary);
    }
    let AsyncConfig { packet_in, port_status, flow_removed, role_status, table_status, request_forward } =
        new;
    one(&mut config.packet_in, packet_in);
    one(&mut config.port_status, port_status);
    one(&mut config.flow_removed, flow_removed);
    one(&mut config.role_status, role_status);
    one(&mut config.table_status, table_status);
    one(&mut config.request_forward, request_forward);
}

/// NXT_TLV_TABLE_MOD, all or nothing, with Open vSwitch's conditions. `in_use`: whether a flow has a field of
/// this number.
pub(super) fn change_tlv(
    table: &TlvTable,
    change: &TlvTableMod,
    in_use: impl Fn(u16) -> bool,
) -> Result<TlvTable, ErrorCode> {
    let mut mappings = table.0.clone();
    let same_option =
        |a: &TlvMapping, b: &TlvMapping| (a.option_class, a.option_type) == (b.option_class, b.option_type);
    match change.command {
        TlvCommand::Clear | TlvCommand::Delete => {
            let all = change.command == TlvCommand::Clear;
            let goes =
                |mapping: &TlvMapping| all || change.mappings.iter().any(|gone| gone.index == mapping.index);
            if mappings.iter().any(|mapping| goes(mapping) && in_use(mapping.index)) {
                return Err(ErrorCode::NxttmfcInvalidTlvDel);
            }
            // What isn't mapped is passed over.
            mappings.retain(|mapping| !goes(mapping));
        }
        TlvCommand::Add => {
            for new in &change.mappings {
                if new.index >= OPTION_FIELDS {
                    return Err(ErrorCode::NxttmfcBadFieldIdx);
                }
                if mappings.iter().any(|mapping| mapping.index == new.index) {
                    return Err(ErrorCode::NxttmfcAlreadyMapped);
                }
                if mappings.iter().any(|mapping| same_option(mapping, new)) {
                    return Err(ErrorCode::NxttmfcDupEntry);
                }
                mappings.push(*new);
            }
            mappings.sort_by_key(|mapping| mapping.index);
        }
    }
    let space: u32 = mappings.iter().map(|mapping| u32::from(mapping.option_len) + 4).sum();
    if space > OPTION_SPACE { Err(ErrorCode::NxttmfcTableFull) } else { Ok(TlvTable(mappings)) }
}

/// There are no groups: none can be added or changed, and all are deleted.
pub(super) fn group_mod(change: GroupMod) -> Result<(), ErrorCode> {
    match change.command {
        2 => Ok(()),
        1 | 3 | 5 => Err(ErrorCode::GmfcUnknownGroup),
        _ if change.id >= ALL_GROUPS => Err(ErrorCode::GmfcInvalidGroup),
        _ => Err(ErrorCode::GmfcOutOfGroups),
    }
}

/// There are no meters, either.
pub(super) fn meter_mod(change: MeterMod) -> Result<(), ErrorCode> {
    match change.command {
        2 => Ok(()),
        1 => Err(ErrorCode::MmfcUnknownMeter),
        _ => Err(ErrorCode::MmfcOutOfMeters),
    }
}

/// Tables have no settings but the ones they begin with.
pub(super) fn table_mod(change: TableMod) -> Result<(), ErrorCode> {
    if change.table >= TABLES && change.table != ALL_TABLES {
        return Err(ErrorCode::TmfcBadTable);
    }
    if change.config == 0 { Ok(()) } else { Err(ErrorCode::TmfcBadConfig) }
}
