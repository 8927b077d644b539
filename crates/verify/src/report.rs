//! What was claimed, and what came of it.

use crate::replay::Witness;
use footbridge_pipeline::FlowId;

/// What is claimed of a bridge. One row a claim: variant, name in JSON and on the command line, sentence.
macro_rules! claims {
    ($( $variant:ident $name:literal $sentence:literal; )*) => {
        /// What is claimed of a bridge.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Claim { $( #[doc = $sentence] $variant ),* }

        impl Claim {
            /// All claims, in the order of reports.
            pub const ALL: &[Claim] = &[ $( Claim::$variant ),* ];

            /// A name of lower-case letters and hyphens.
            pub fn name(self) -> &'static str {
                match self { $( Claim::$variant => $name ),* }
            }

            /// The claim as a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $( Claim::$variant => $sentence ),* }
            }
        }
    };
}

claims! {
    ArpSender      "arp-sender"      "no ARP enters with a sender that is not its port's";
    OwnArp         "own-arp"         "every port's own ARP gets past the guard";
    IpSender       "ip-sender"       "no port can speak for another's IP address";
    OwnIp          "own-ip"          "every port's own IP packets get past the guard";
    GuardSilent    "guard-silent"    "the guard itself sends nothing anywhere";
    Once           "once"            "no packet comes to a table twice, or leaves twice by the same port";
    Answered       "answered"        "an ARP request for a peer's gateway is answered by the bridge, with the global virtual MAC";
    StaysHere      "stays-here"      "such a request never leaves the node";
    AnswersNoOther "answers-no-other" "nothing answers for addresses that it should not";
    Switched       "switched"        "all other ARP is switched, as it is";
    Delivered      "delivered"       "what opens a connection to a port's own address goes to that port, or a policy drops it";
    Misses         "misses"          "every table ends in its own miss";
    NoLoop         "no-loop"         "no packet loops";
    NoDeadFlow     "no-dead-flow"    "there is no flow that can never match";
    PortsExist     "ports-exist"     "there is no output to a port that does not exist";
    Unambiguous    "unambiguous"     "no packet is taken by two flows of one priority that do different things";
    Reachable      "reachable"       "each pod reaches each other pod, over the right tunnel, or a policy drops it";
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds for all packets.
    Proved,
    /// It does not; the smallest of what shows that, and how many more there are.
    Refuted(Vec<Counterexample>, usize),
    /// It was not asked.
    NotAsked(String),
}

/// What shows that a claim does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What goes wrong.
    pub what: String,
    /// The packet it goes wrong with; none where no packet can show it, as of a flow that none reaches.
    pub witness: Option<Witness>,
    /// The flows it is about.
    pub flows: Vec<FlowId>,
    /// Whether the evaluator was seen to do it. If not, the claim may hold after all: what was
    /// over-approximated is in the report's notes.
    pub confirmed: bool,
}

/// All claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each claim once, in the order of [`Claim::ALL`].
    pub claims: Vec<(Claim, Verdict)>,
    /// One's own properties, as they are written.
    pub properties: Vec<(String, Verdict)>,
    /// What the claims rest on, and where more was allowed for than can happen.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether no claim was refuted.
    pub fn holds(&self) -> bool {
        let claims = self.claims.iter().map(|(_, verdict)| verdict);
        let properties = self.properties.iter().map(|(_, verdict)| verdict);
        claims.chain(properties).all(|verdict| !matches!(verdict, Verdict::Refuted(..)))
    }
}
