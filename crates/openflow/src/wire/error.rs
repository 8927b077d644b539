//! OFPT_ERROR: the one table of error names and their numbers in each version, and the message.
//!
//! OpenFlow 1.0.0 §5.4.4, 1.3.5 §7.4.4, 1.5.1 §7.5.4. Pairs that a version lacks are sent as Open
//! vSwitch sends them: in 1.0 with type 0xb0c2 (a Nicira vendor error), from 1.3 on with type 0xffff
//! and the experimenter Nicira or ONF. An error with no pair at all in a version is sent as
//! NXBRC_UNENCODABLE_ERROR.

use super::bytes::{Reader, U16, U32, layout, put};
use super::header;
use super::version::Version;
use super::{NICIRA, ONF};
use core::fmt;

/// Type of a vendor error in OpenFlow 1.0 (Nicira's).
const OFPET_VENDOR: u16 = 0xb0c2;
/// Type of an experimenter error from OpenFlow 1.2 on.
const OFPET_EXPERIMENTER: u16 = 0xffff;
/// Type of Table 1 of the specification that HELLO_FAILED has.
const HELLO_FAILED: u16 = 0;

/// Why a message could not be decoded, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code} in {what}")]
pub struct Refusal {
    /// The error to answer with.
    pub code: ErrorCode,
    /// What was being decoded.
    pub what: &'static str,
}

impl Refusal {
    /// `code`, found while decoding `what`.
    pub fn new(code: ErrorCode, what: &'static str) -> Refusal {
        Refusal { code, what }
    }
}

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message does not fit its 16-bit length.
    #[error("the message is {length} bytes long; OpenFlow's limit is 65535: split it or shorten its actions")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The version has no form for it.
    #[error("{version} cannot express {what}")]
    Inexpressible {
        /// The version.
        version: Version,
        /// What was to be encoded.
        what: &'static str,
    },
}

/// Who defines a type and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Standard,
    /// Numbers behind an experimenter (vendor) id.
    Vendor(u32),
}

/// The numbers of one error in versions `first` to `last`.
#[derive(Debug)]
struct Pair {
    space: Space,
    first: u8,
    last: u8,
    kind: u16,
    code: u16,
}

struct Row {
    code: ErrorCode,
    name: &'static str,
    pairs: &'static [Pair],
}

macro_rules! space {
    (std) => {
        Space::Standard
    };
    (nx) => {
        Space::Vendor(NICIRA)
    };
    (onf) => {
        Space::Vendor(ONF)
    };
}

macro_rules! errors {
    ($( $variant:ident $name:literal : $( $space:ident $first:literal ..= $last:literal $kind:literal / $code:literal ),+ ; )*) => {
        /// Every error that we send or read, by its name in the specification (without OFP).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the specification's")]
        pub enum ErrorCode { $($variant),* }

        /// The table, indexed by `ErrorCode as usize`.
        static ERRORS: &[Row] = &[ $( Row {
            code: ErrorCode::$variant,
            name: $name,
            pairs: &[ $( Pair { space: space!($space), first: $first, last: $last, kind: $kind, code: $code } ),+ ],
        } ),* ];
    };
}

// One row an error: name, then its type/code in each range of wire versions (1 is 1.0, 4 is 1.3,
// 5 is 1.4, 6 is 1.5). Behind an experimenter in 1.3 and later there is only a code.
#[rustfmt::skip]
errors! {
    HfcIncompatible "OFPHFC_INCOMPATIBLE": std 1..=6 0/0;
    HfcEperm "OFPHFC_EPERM": std 1..=6 0/1;
    BrcBadVersion "OFPBRC_BAD_VERSION": std 1..=6 1/0;
    BrcBadType "OFPBRC_BAD_TYPE": std 1..=6 1/1;
    BrcBadStat "OFPBRC_BAD_STAT": std 1..=6 1/2;
    BrcBadVendor "OFPBRC_BAD_VENDOR": std 1..=6 1/3;
    BrcBadSubtype "OFPBRC_BAD_SUBTYPE": std 1..=6 1/4;
    BrcEperm "OFPBRC_EPERM": std 1..=6 1/5;
    BrcBadLen "OFPBRC_BAD_LEN": std 1..=6 1/6;
    BrcBufferEmpty "OFPBRC_BUFFER_EMPTY": std 1..=6 1/7;
    BrcBufferUnknown "OFPBRC_BUFFER_UNKNOWN": std 1..=6 1/8;
    BrcBadTableId "OFPBRC_BAD_TABLE_ID": nx 1..=1 1/512, std 4..=6 1/9;
    BrcIsSecondary "OFPBRC_IS_SECONDARY": std 1..=1 1/5, std 4..=6 1/10;
    BrcBadPort "OFPBRC_BAD_PORT": nx 1..=1 1/514, std 4..=6 1/11;
    BrcBadPacket "OFPBRC_BAD_PACKET": std 4..=6 1/12;
    BrcMultipartBufferOverflow "OFPBRC_MULTIPART_BUFFER_OVERFLOW": std 4..=6 1/13;
    BrcMultipartRequestTimeout "OFPBRC_MULTIPART_REQUEST_TIMEOUT": onf 4..=4 0/2640, std 5..=6 1/14;
    BrcMultipartReplyTimeout "OFPBRC_MULTIPART_REPLY_TIMEOUT": onf 4..=4 0/2641, std 5..=6 1/15;
    BrcPipelineFieldsOnly "OFPBRC_PIPELINE_FIELDS_ONLY": std 6..=6 1/17;
    BrcUnknown "OFPBRC_UNKNOWN": std 6..=6 1/18;
    NxbrcNxmInvalid "NXBRC_NXM_INVALID": nx 1..=1 1/256, nx 4..=6 0/2;
    NxbrcNxmBadType "NXBRC_NXM_BAD_TYPE": nx 1..=1 1/257, nx 4..=6 0/3;
    NxbrcMustBeZero "NXBRC_MUST_BE_ZERO": nx 1..=1 1/515, nx 4..=6 0/4;
    NxbrcBadReason "NXBRC_BAD_REASON": nx 1..=1 1/516, nx 4..=6 0/5;
    NxbrcFmBadEvent "NXBRC_FM_BAD_EVENT": nx 1..=1 1/520, nx 4..=6 0/9;
    NxbrcUnencodableError "NXBRC_UNENCODABLE_ERROR": nx 1..=1 1/521, nx 4..=6 0/10;
    BacBadType "OFPBAC_BAD_TYPE": std 1..=6 2/0;
    BacBadLen "OFPBAC_BAD_LEN": std 1..=6 2/1;
    BacBadVendor "OFPBAC_BAD_VENDOR": std 1..=6 2/2;
    BacBadVendorType "OFPBAC_BAD_VENDOR_TYPE": std 1..=6 2/3;
    BacBadOutPort "OFPBAC_BAD_OUT_PORT": std 1..=6 2/4;
    BacBadArgument "OFPBAC_BAD_ARGUMENT": std 1..=6 2/5;
    BacEperm "OFPBAC_EPERM": std 1..=6 2/6;
    BacTooMany "OFPBAC_TOO_MANY": std 1..=6 2/7;
    BacBadQueue "OFPBAC_BAD_QUEUE": std 1..=6 2/8;
    BacBadOutGroup "OFPBAC_BAD_OUT_GROUP": nx 1..=1 2/9, std 4..=6 2/9;
    BacMatchInconsistent "OFPBAC_MATCH_INCONSISTENT": nx 1..=1 1/522, std 4..=6 2/10;
    BacUnsupportedOrder "OFPBAC_UNSUPPORTED_ORDER": std 4..=6 2/11;
    BacBadTag "OFPBAC_BAD_TAG": std 4..=6 2/12;
    BacBadSetType "OFPBAC_BAD_SET_TYPE": nx 1..=1 1/523, std 4..=6 2/13;
    BacBadSetLen "OFPBAC_BAD_SET_LEN": nx 1..=1 1/524, std 4..=6 2/14;
    BacBadSetArgument "OFPBAC_BAD_SET_ARGUMENT": nx 1..=1 1/525, std 4..=6 2/15;
    BacBadSetMask "OFPBAC_BAD_SET_MASK": onf 4..=5 0/4250, std 6..=6 2/16;
    BacBadMeter "OFPBAC_BAD_METER": std 6..=6 2/17;
    NxbacMustBeZero "NXBAC_MUST_BE_ZERO": nx 1..=1 2/256, nx 4..=6 0/11;
    NxbacBadConjunction "NXBAC_BAD_CONJUNCTION": nx 1..=1 2/526, nx 4..=6 0/15;
    NxbacCtDatapathSupport "NXBAC_CT_DATAPATH_SUPPORT": nx 1..=1 1/265, nx 4..=6 0/42;
    BicUnknownInst "OFPBIC_UNKNOWN_INST": std 4..=6 3/0;
    BicUnsupInst "OFPBIC_UNSUP_INST": nx 1..=1 2/257, std 4..=6 3/1;
    BicBadTableId "OFPBIC_BAD_TABLE_ID": std 4..=6 3/2;
    BicUnsupMetadata "OFPBIC_UNSUP_METADATA": std 4..=6 3/3;
    BicUnsupMetadataMask "OFPBIC_UNSUP_METADATA_MASK": std 4..=6 3/4;
    BicBadExperimenter "OFPBIC_BAD_EXPERIMENTER": std 4..=6 3/5;
    BicBadExpType "OFPBIC_BAD_EXP_TYPE": std 4..=6 3/6;
    BicBadLen "OFPBIC_BAD_LEN": std 4..=6 3/7;
    BicEperm "OFPBIC_EPERM": std 4..=6 3/8;
    BicDupInst "OFPBIC_DUP_INST": onf 4..=4 0/2600, std 5..=6 3/9;
    BmcBadType "OFPBMC_BAD_TYPE": std 4..=6 4/0;
    BmcBadLen "OFPBMC_BAD_LEN": std 4..=6 4/1;
    BmcBadTag "OFPBMC_BAD_TAG": std 4..=6 4/2;
    BmcBadNwAddrMask "OFPBMC_BAD_NW_ADDR_MASK": std 4..=6 4/4;
    BmcBadWildcards "OFPBMC_BAD_WILDCARDS": nx 1..=1 1/262, std 4..=6 4/5;
    BmcBadField "OFPBMC_BAD_FIELD": nx 1..=1 0/263, std 4..=6 4/6;
    BmcBadValue "OFPBMC_BAD_VALUE": nx 1..=1 1/258, std 4..=6 4/7;
    BmcBadMask "OFPBMC_BAD_MASK": nx 1..=1 1/259, std 4..=6 4/8;
    BmcBadPrereq "OFPBMC_BAD_PREREQ": nx 1..=1 1/260, std 4..=6 4/9;
    BmcDupField "OFPBMC_DUP_FIELD": nx 1..=1 1/261, std 4..=6 4/10;
    BmcEperm "OFPBMC_EPERM": std 4..=6 4/11;
    NxbmcCtDatapathSupport "NXBMC_CT_DATAPATH_SUPPORT": nx 1..=1 1/264, nx 4..=6 0/43;
    FmfcUnknown "OFPFMFC_UNKNOWN": std 4..=6 5/0;
    FmfcTableFull "OFPFMFC_TABLE_FULL": std 1..=1 3/0, std 4..=6 5/1;
    FmfcBadTableId "OFPFMFC_BAD_TABLE_ID": std 4..=6 5/2;
    FmfcOverlap "OFPFMFC_OVERLAP": std 1..=1 3/1, std 4..=6 5/3;
    FmfcEperm "OFPFMFC_EPERM": std 1..=1 3/2, std 4..=6 5/4;
    FmfcBadTimeout "OFPFMFC_BAD_TIMEOUT": std 4..=6 5/5;
    FmfcBadEmergTimeout "OFPFMFC_BAD_EMERG_TIMEOUT": std 1..=1 3/3;
    FmfcBadCommand "OFPFMFC_BAD_COMMAND": std 1..=1 3/4, std 4..=6 5/6;
    FmfcBadFlags "OFPFMFC_BAD_FLAGS": nx 1..=1 3/258, std 4..=6 5/7;
    FmfcCantSync "OFPFMFC_CANT_SYNC": std 5..=6 5/8;
    FmfcBadPriority "OFPFMFC_BAD_PRIORITY": onf 4..=4 0/2360, std 5..=6 5/9;
    FmfcIsSync "OFPFMFC_IS_SYNC": std 5..=6 5/10;
    FmfcUnsupported "OFPFMFC_UNSUPPORTED": std 1..=1 3/5;
    NxfmfcHardware "NXFMFC_HARDWARE": nx 1..=1 5/256, nx 4..=6 0/12;
    NxfmfcBadTableId "NXFMFC_BAD_TABLE_ID": nx 1..=1 5/257, nx 4..=6 0/13;
    NxfmfcInvalidTlvField "NXFMFC_INVALID_TLV_FIELD": nx 1..=1 1/536, nx 4..=6 0/37;
    GmfcGroupExists "OFPGMFC_GROUP_EXISTS": nx 1..=1 6/0, std 4..=6 6/0;
    GmfcInvalidGroup "OFPGMFC_INVALID_GROUP": nx 1..=1 6/1, std 4..=6 6/1;
    GmfcWeightUnsupported "OFPGMFC_WEIGHT_UNSUPPORTED": nx 1..=1 6/2, std 4..=6 6/2;
    GmfcOutOfGroups "OFPGMFC_OUT_OF_GROUPS": nx 1..=1 6/3, std 4..=6 6/3;
    GmfcOutOfBuckets "OFPGMFC_OUT_OF_BUCKETS": nx 1..=1 6/4, std 4..=6 6/4;
    GmfcChainingUnsupported "OFPGMFC_CHAINING_UNSUPPORTED": nx 1..=1 6/5, std 4..=6 6/5;
    GmfcWatchUnsupported "OFPGMFC_WATCH_UNSUPPORTED": nx 1..=1 6/6, std 4..=6 6/6;
    GmfcLoop "OFPGMFC_LOOP": nx 1..=1 6/7, std 4..=6 6/7;
    GmfcUnknownGroup "OFPGMFC_UNKNOWN_GROUP": nx 1..=1 6/8, std 4..=6 6/8;
    GmfcChainedGroup "OFPGMFC_CHAINED_GROUP": nx 1..=1 6/9, std 4..=6 6/9;
    GmfcBadType "OFPGMFC_BAD_TYPE": nx 1..=1 6/10, std 4..=6 6/10;
    GmfcBadCommand "OFPGMFC_BAD_COMMAND": nx 1..=1 6/11, std 4..=6 6/11;
    GmfcBadBucket "OFPGMFC_BAD_BUCKET": nx 1..=1 6/12, std 4..=6 6/12;
    GmfcBadWatch "OFPGMFC_BAD_WATCH": nx 1..=1 6/13, std 4..=6 6/13;
    GmfcEperm "OFPGMFC_EPERM": nx 1..=1 6/14, std 4..=6 6/14;
    GmfcUnknownBucket "OFPGMFC_UNKNOWN_BUCKET": nx 1..=1 6/15, std 6..=6 6/15;
    GmfcBucketExists "OFPGMFC_BUCKET_EXISTS": nx 1..=1 6/16, std 6..=6 6/16;
    PmfcBadPort "OFPPMFC_BAD_PORT": std 1..=1 4/0, std 4..=6 7/0;
    PmfcBadHwAddr "OFPPMFC_BAD_HW_ADDR": std 1..=1 4/1, std 4..=6 7/1;
    PmfcBadConfig "OFPPMFC_BAD_CONFIG": std 4..=6 7/2;
    PmfcBadAdvertise "OFPPMFC_BAD_ADVERTISE": std 4..=6 7/3;
    PmfcEperm "OFPPMFC_EPERM": std 4..=6 7/4;
    TmfcBadTable "OFPTMFC_BAD_TABLE": std 4..=6 8/0;
    TmfcBadConfig "OFPTMFC_BAD_CONFIG": std 4..=6 8/1;
    TmfcEperm "OFPTMFC_EPERM": std 4..=6 8/2;
    QofcBadPort "OFPQOFC_BAD_PORT": std 1..=1 5/0, std 4..=6 9/0;
    QofcBadQueue "OFPQOFC_BAD_QUEUE": std 1..=1 5/1, std 4..=6 9/1;
    QofcEperm "OFPQOFC_EPERM": std 1..=1 5/2, std 4..=6 9/2;
    NxqofcQueueError "NXQOFC_QUEUE_ERROR": nx 5..=6 0/23;
    ScfcBadFlags "OFPSCFC_BAD_FLAGS": std 4..=6 10/0;
    ScfcBadLen "OFPSCFC_BAD_LEN": std 4..=6 10/1;
    ScfcEperm "OFPSCFC_EPERM": std 4..=6 10/2;
    RrfcStale "OFPRRFC_STALE": std 4..=6 11/0;
    RrfcUnsup "OFPRRFC_UNSUP": std 4..=6 11/1;
    RrfcBadRole "OFPRRFC_BAD_ROLE": nx 1..=1 1/513, std 4..=6 11/2;
    RrfcIdUnsup "OFPRRFC_ID_UNSUP": std 6..=6 11/3;
    RrfcIdInUse "OFPRRFC_ID_IN_USE": std 6..=6 11/4;
    MmfcUnknown "OFPMMFC_UNKNOWN": std 4..=6 12/0;
    MmfcMeterExists "OFPMMFC_METER_EXISTS": std 4..=6 12/1;
    MmfcInvalidMeter "OFPMMFC_INVALID_METER": std 4..=6 12/2;
    MmfcUnknownMeter "OFPMMFC_UNKNOWN_METER": std 4..=6 12/3;
    MmfcBadCommand "OFPMMFC_BAD_COMMAND": std 4..=6 12/4;
    MmfcBadFlags "OFPMMFC_BAD_FLAGS": std 4..=6 12/5;
    MmfcBadRate "OFPMMFC_BAD_RATE": std 4..=6 12/6;
    MmfcBadBurst "OFPMMFC_BAD_BURST": std 4..=6 12/7;
    MmfcBadBand "OFPMMFC_BAD_BAND": std 4..=6 12/8;
    MmfcBadBandValue "OFPMMFC_BAD_BAND_VALUE": std 4..=6 12/9;
    MmfcOutOfMeters "OFPMMFC_OUT_OF_METERS": std 4..=6 12/10;
    MmfcOutOfBands "OFPMMFC_OUT_OF_BANDS": std 4..=6 12/11;
    TffcBadTable "OFPTFFC_BAD_TABLE": std 4..=6 13/0;
    TffcBadMetadata "OFPTFFC_BAD_METADATA": std 4..=6 13/1;
    TffcEperm "OFPTFFC_EPERM": std 4..=6 13/5;
    TffcBadCapa "OFPTFFC_BAD_CAPA": std 6..=6 13/6;
    TffcBadMaxEnt "OFPTFFC_BAD_MAX_ENT": std 6..=6 13/7;
    TffcBadFeatures "OFPTFFC_BAD_FEATURES": std 6..=6 13/8;
    TffcBadCommand "OFPTFFC_BAD_COMMAND": std 6..=6 13/9;
    TffcTooMany "OFPTFFC_TOO_MANY": std 6..=6 13/10;
    NxtffcDupTable "NXTFFC_DUP_TABLE": nx 4..=6 0/44;
    BpcBadType "OFPBPC_BAD_TYPE": nx 1..=1 13/2, std 4..=4 13/2, std 5..=6 14/0;
    BpcBadLen "OFPBPC_BAD_LEN": nx 1..=1 13/3, std 4..=4 13/3, std 5..=6 14/1;
    BpcBadValue "OFPBPC_BAD_VALUE": nx 1..=1 13/4, std 4..=4 13/4, std 5..=6 14/2;
    BpcTooMany "OFPBPC_TOO_MANY": nx 1..=1 14/3, onf 4..=4 0/4443, std 5..=6 14/3;
    BpcDupType "OFPBPC_DUP_TYPE": nx 1..=1 14/4, onf 4..=4 0/4444, std 5..=6 14/4;
    BpcBadExperimenter "OFPBPC_BAD_EXPERIMENTER": nx 1..=1 14/5, onf 4..=4 0/4445, std 5..=6 14/5;
    BpcBadExpType "OFPBPC_BAD_EXP_TYPE": nx 1..=1 14/6, onf 4..=4 0/4446, std 5..=6 14/6;
    BpcBadExpValue "OFPBPC_BAD_EXP_VALUE": nx 1..=1 14/7, onf 4..=4 0/4447, std 5..=6 14/7;
    BpcEperm "OFPBPC_EPERM": nx 1..=1 14/8, onf 4..=4 0/4448, std 5..=6 14/8;
    AcfcInvalid "OFPACFC_INVALID": onf 4..=4 0/2370, std 5..=6 15/0;
    AcfcUnsupported "OFPACFC_UNSUPPORTED": onf 4..=4 0/2371, std 5..=6 15/1;
    AcfcEperm "OFPACFC_EPERM": onf 4..=4 0/2372, std 5..=6 15/2;
    BfcUnknown "OFPBFC_UNKNOWN": onf 4..=4 0/2300, std 5..=6 17/0;
    BfcEperm "OFPBFC_EPERM": onf 4..=4 0/2301, std 5..=6 17/1;
    BfcBadId "OFPBFC_BAD_ID": onf 4..=4 0/2302, std 5..=6 17/2;
    BfcBundleExist "OFPBFC_BUNDLE_EXIST": onf 4..=4 0/2303, std 5..=6 17/3;
    BfcBundleClosed "OFPBFC_BUNDLE_CLOSED": onf 4..=4 0/2304, std 5..=6 17/4;
    BfcOutOfBundles "OFPBFC_OUT_OF_BUNDLES": onf 4..=4 0/2305, std 5..=6 17/5;
    BfcBadType "OFPBFC_BAD_TYPE": onf 4..=4 0/2306, std 5..=6 17/6;
    BfcBadFlags "OFPBFC_BAD_FLAGS": onf 4..=4 0/2307, std 5..=6 17/7;
    BfcMsgBadLen "OFPBFC_MSG_BAD_LEN": onf 4..=4 0/2308, std 5..=6 17/8;
    BfcMsgBadXid "OFPBFC_MSG_BAD_XID": onf 4..=4 0/2309, std 5..=6 17/9;
    BfcMsgUnsup "OFPBFC_MSG_UNSUP": onf 4..=4 0/2310, std 5..=6 17/10;
    BfcMsgConflict "OFPBFC_MSG_CONFLICT": onf 4..=4 0/2311, std 5..=6 17/11;
    BfcMsgTooMany "OFPBFC_MSG_TOO_MANY": onf 4..=4 0/2312, std 5..=6 17/12;
    BfcMsgFailed "OFPBFC_MSG_FAILED": onf 4..=4 0/2313, std 5..=6 17/13;
    BfcTimeout "OFPBFC_TIMEOUT": onf 4..=4 0/2314, std 5..=6 17/14;
    BfcBundleInProgress "OFPBFC_BUNDLE_IN_PROGRESS": onf 4..=4 0/2315, std 5..=6 17/15;
    BfcBadVersion "OFPBFC_BAD_VERSION": nx 5..=6 0/22;
    MofcUnknown "OFPMOFC_UNKNOWN": std 5..=6 16/0;
    MofcMonitorExists "OFPMOFC_MONITOR_EXISTS": nx 1..=1 1/517, nx 4..=4 0/6, std 5..=6 16/1;
    MofcInvalidMonitor "OFPMOFC_INVALID_MONITOR": std 5..=6 16/2;
    MofcUnknownMonitor "OFPMOFC_UNKNOWN_MONITOR": nx 1..=1 1/519, nx 4..=4 0/8, std 5..=6 16/3;
    MofcBadCommand "OFPMOFC_BAD_COMMAND": std 5..=6 16/4;
    MofcBadFlags "OFPMOFC_BAD_FLAGS": nx 1..=1 1/518, nx 4..=4 0/7, std 5..=6 16/5;
    MofcBadTableId "OFPMOFC_BAD_TABLE_ID": std 5..=6 16/6;
    MofcBadOut "OFPMOFC_BAD_OUT": std 5..=6 16/7;
    NxttmfcBadCommand "NXTTMFC_BAD_COMMAND": nx 1..=1 1/527, nx 4..=6 0/16;
    NxttmfcBadOptLen "NXTTMFC_BAD_OPT_LEN": nx 1..=1 1/528, nx 4..=6 0/17;
    NxttmfcBadFieldIdx "NXTTMFC_BAD_FIELD_IDX": nx 1..=1 1/529, nx 4..=6 0/18;
    NxttmfcTableFull "NXTTMFC_TABLE_FULL": nx 1..=1 1/530, nx 4..=6 0/19;
    NxttmfcAlreadyMapped "NXTTMFC_ALREADY_MAPPED": nx 1..=1 1/531, nx 4..=6 0/20;
    NxttmfcDupEntry "NXTTMFC_DUP_ENTRY": nx 1..=1 1/532, nx 4..=6 0/21;
    NxttmfcInvalidTlvDel "NXTTMFC_INVALID_TLV_DEL": nx 1..=1 1/537, nx 4..=6 0/38;
    NxrNotSupported "NXR_NOT_SUPPORTED": nx 1..=1 1/533, nx 4..=6 0/34;
    NxrStale "NXR_STALE": nx 1..=1 1/534, nx 4..=6 0/35;
    NxstNotConfigured "NXST_NOT_CONFIGURED": nx 1..=1 1/535, nx 4..=6 0/36;
}

impl ErrorCode {
    /// The name as `ovs-ofctl` prints it.
    pub fn name(self) -> &'static str {
        ERRORS[self as usize].name
    }

    fn pair(self, version: Version) -> Option<&'static Pair> {
        ERRORS[self as usize].pairs.iter().find(|p| (p.first..=p.last).contains(&version.wire()))
    }

    fn find(space: Space, version: u8, kind: u16, code: u16) -> Option<ErrorCode> {
        ERRORS
            .iter()
            .find(|row| {
                row.pairs.iter().any(|p| {
                    p.space == space
                        && p.kind == kind
                        && p.code == code
                        && (p.first..=p.last).contains(&version)
                })
            })
            .map(|row| row.code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

layout! {
    /// ofp_error_msg
    struct Layout {
        kind: U16,
        code: U16,
    }

    /// nx_vendor_error, behind type 0xb0c2
    struct VendorError {
        vendor: U32,
        kind: U16,
        code: U16,
    }
}

/// What an error message says went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An error of the table.
    Known(ErrorCode),
    /// Numbers that the table lacks.
    Unknown {
        /// The experimenter, where it was one's error.
        vendor: Option<u32>,
        /// Its type.
        kind: u16,
        /// Its code.
        code: u16,
    },
}

/// OFPT_ERROR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorMessage {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The beginning of the offending message; text for HELLO_FAILED.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    /// The answer to `offending`, which is quoted whole, as by Open vSwitch, so that a client can say what it
    /// was; of the longest, what fits.
    pub fn about(code: ErrorCode, offending: &[u8]) -> ErrorMessage {
        ErrorMessage { kind: ErrorKind::Known(code), data: offending[..offending.len().min(QUOTED)].to_vec() }
    }

    /// From the bytes behind the header. `version` is the header's own: a failed hello may carry any.
    pub(crate) fn decode(version: u8, body: &[u8]) -> Result<ErrorMessage, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_ERROR");
        let layout: &Layout = reader.take()?;
        let (vendor, kind, code) = match (version, layout.kind.get()) {
            (1, OFPET_VENDOR) => {
                let inner: &VendorError = reader.take()?;
                (Some(inner.vendor.get()), inner.kind.get(), inner.code.get())
            }
            (3.., OFPET_EXPERIMENTER) => {
                let vendor: &U32 = reader.take()?;
                (Some(vendor.get()), 0, layout.code.get())
            }
            (_, kind) => (None, kind, layout.code.get()),
        };
        let space = vendor.map_or(Space::Standard, Space::Vendor);
        let of_version = if kind == HELLO_FAILED && vendor.is_none() { Version::V10.wire() } else { version };
        let kind = ErrorCode::find(space, of_version, kind, code)
            .map_or(ErrorKind::Unknown { vendor, kind, code }, ErrorKind::Known);
        Ok(ErrorMessage { kind, data: reader.rest().to_vec() })
    }

    /// A whole message.
    pub fn encode(&self, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let (vendor, kind, code) = match self.kind {
            ErrorKind::Unknown { vendor, kind, code } => (vendor, kind, code),
            ErrorKind::Known(error) => {
                let pair = error
                    .pair(version)
                    .or_else(|| ErrorCode::NxbrcUnencodableError.pair(version))
                    .ok_or(EncodeError::Inexpressible { version, what: "this error" })?;
                let vendor = match pair.space {
                    Space::Standard => None,
                    Space::Vendor(vendor) => Some(vendor),
                };
                (vendor, pair.kind, pair.code)
            }
        };
        header::message(version, super::kind::ERROR, xid, |out| {
            let (kind, code) = (U16::new(kind), U16::new(code));
            match vendor {
                None => put(out, Layout { kind, code }),
                Some(vendor) if version == Version::V10 => {
                    put(out, Layout { kind: U16::new(OFPET_VENDOR), code: U16::ZERO });
                    put(out, VendorError { vendor: U32::new(vendor), kind, code });
                }
                Some(vendor) => {
                    put(out, Layout { kind: U16::new(OFPET_EXPERIMENTER), code });
                    put(out, U32::new(vendor));
                }
            }
            out.extend_from_slice(&self.data);
            Ok(())
        })
    }
}

/// How much of an offending message is quoted: what a message has room for behind its header and the largest
/// of errors (1.0's of a vendor).
const QUOTED: usize = u16::MAX as usize - header::HEADER_LEN - size_of::<Layout>() - size_of::<VendorError>();
