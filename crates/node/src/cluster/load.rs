//! From YAML text to Kubernetes objects, each with its place.
//!
//! Documents are split at `---` and `...` lines (YAML 1.2 §9.1: at column 0 these are always markers),
//! so that one bad document hides none of the others' problems. Each is read twice: once for its kind
//! and for the places of a list's items, once as what its kind says.

use super::problem::{Problem, ProblemKind};
use k8s_openapi::api::core::v1;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// An object of the file and the place where it begins.
pub(super) struct Object {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) body: Body,
}

/// An object of a kind that the file may hold.
pub(super) enum Body {
    Node(Box<v1::Node>),
    Pod(Box<v1::Pod>),
    Service(Box<v1::Service>),
    NetworkPolicy { namespace: Option<String>, name: Option<String> },
}

/// All objects of the text, and what is wrong with the others.
pub(super) fn objects(text: &str) -> (Vec<Object>, Vec<Problem>) {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for document in documents(text) {
        if let Err(mut found) = document.read(&mut objects) {
            problems.append(&mut found);
        }
    }
    (objects, problems)
}

/// One YAML document and how many lines stand before it.
struct Document<'a> {
    text: &'a str,
    first_line: u64,
}

fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 0, 0);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let marker = ["---", "..."].iter().any(|m| {
            line.strip_prefix(m)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        });
        if marker && offset > start {
            documents.push(Document { text: &text[start..offset], first_line });
        }
        if marker {
            (start, first_line) = (offset, number);
            if line.starts_with("...") {
                (start, first_line) = (offset + line.len(), number + 1);
            }
        }
        offset += line.len();
    }
    documents.push(Document { text: &text[start..], first_line });
    documents
}

/// What tells an object's kind; everything else is skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Metadata>,
    items: Option<Vec<Spanned<Header>>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

/// The kinds that the file may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Pod,
    Service,
    NetworkPolicy,
    List,
}

impl Kind {
    fn of(header: &Header) -> Result<Kind, ProblemKind> {
        let (Some(api_version), Some(kind)) = (&header.api_version, &header.kind) else {
            return Err(ProblemKind::NoKind);
        };
        match (api_version.as_str(), kind.as_str()) {
            ("v1", "Node") => Ok(Kind::Node),
            ("v1", "Pod") => Ok(Kind::Pod),
            ("v1", "Service") => Ok(Kind::Service),
            ("v1", "List") => Ok(Kind::List),
            ("networking.k8s.io/v1", "NetworkPolicy") => Ok(Kind::NetworkPolicy),
            _ => Err(ProblemKind::WrongKind { api_version: api_version.clone(), kind: kind.clone() }),
        }
    }
}

impl Document<'_> {
    /// Append the document's objects; or say everything that is wrong with their kinds, else the
    /// first thing that is wrong with their contents.
    fn read(&self, objects: &mut Vec<Object>) -> Result<(), Vec<Problem>> {
        let yaml = |error| vec![self.yaml_problem(&error)];
        let header: Option<Spanned<Header>> =
            serde_saphyr::from_str_with_options(self.text, options()).map_err(yaml)?;
        let Some(header) = header else { return Ok(()) };
        let place = |location: &Location| (self.first_line + location.line(), location.column());
        let problem = |spanned: &Spanned<Header>, kind| {
            let (line, column) = place(&spanned.referenced);
            Problem { line, column, object: spanned.value.title(), kind }
        };
        let kind = Kind::of(&header.value).map_err(|kind| vec![problem(&header, kind)])?;
        if kind != Kind::List {
            let body = serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), |de| {
                Item { kind, header: &header.value }.deserialize(de)
            })
            .map_err(yaml)?;
            let (line, column) = place(&header.referenced);
            objects.push(Object { line, column, body });
            return Ok(());
        }
        let items = header.value.items.unwrap_or_default();
        let mut kinds = Vec::with_capacity(items.len());
        let mut problems = Vec::new();
        for item in &items {
            match Kind::of(&item.value) {
                Ok(Kind::List) => problems.push(problem(
                    item,
                    ProblemKind::WrongKind {
                        api_version: "v1".to_owned(),
                        kind: "List in a List".to_owned(),
                    },
                )),
                Ok(kind) => kinds.push(Item { kind, header: &item.value }),
                Err(kind) => problems.push(problem(item, kind)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let bodies = serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), |de| {
            List { items: kinds }.deserialize(de)
        })
        .map_err(yaml)?;
        objects.extend(items.iter().zip(bodies).map(|(item, body)| {
            let (line, column) = place(&item.referenced);
            Object { line, column, body }
        }));
        Ok(())
    }

    fn yaml_problem(&self, error: &serde_saphyr::Error) -> Problem {
        let location = error.location();
        let message = serde_saphyr::UserMessageFormatter;
        let text =
            serde_saphyr::MessageFormatter::format_message(&message, error.without_snippet()).into_owned();
        Problem {
            line: self.first_line + location.map_or(1, |l| l.line().max(1)),
            column: location.map_or(1, |l| l.column().max(1)),
            object: None,
            kind: ProblemKind::Yaml(text.escape_debug().to_string()),
        }
    }
}

/// Room for lists of some ten thousand whole objects.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 10_000_000, max_events: 40_000_000 },
        with_snippet: false,
    }
}

impl Header {
    fn title(&self) -> Option<String> {
        let kind = self.kind.as_ref()?;
        let metadata = self.metadata.as_ref()?;
        let name = metadata.name.as_ref()?;
        Some(match &metadata.namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        })
    }
}

/// Reads one object of a known kind.
struct Item<'a> {
    kind: Kind,
    header: &'a Header,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Body;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        Ok(match self.kind {
            Kind::Node => Body::Node(Box::new(v1::Node::deserialize(deserializer)?)),
            Kind::Pod => Body::Pod(Box::new(v1::Pod::deserialize(deserializer)?)),
            Kind::Service => Body::Service(Box::new(v1::Service::deserialize(deserializer)?)),
            Kind::NetworkPolicy => {
                IgnoredAny::deserialize(deserializer)?;
                let metadata = self.header.metadata.as_ref();
                Body::NetworkPolicy {
                    namespace: metadata.and_then(|m| m.namespace.clone()),
                    name: metadata.and_then(|m| m.name.clone()),
                }
            }
            Kind::List => return Err(de::Error::custom("a List in a List")),
        })
    }
}

/// Reads a List whose items' kinds are known.
struct List<'a> {
    items: Vec<Item<'a>>,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Vec<Body>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Body>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<Body>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Body>, A::Error> {
        let mut items = Some(self.items);
        let mut bodies = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), items.take()) {
                ("items", Some(items)) => bodies = map.next_value_seed(Items(items))?,
                (_, left) => {
                    items = left;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(bodies)
    }
}

struct Items<'a>(Vec<Item<'a>>);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<Body>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Body>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<Body>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items of a List")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Body>, A::Error> {
        let mut bodies = Vec::with_capacity(self.0.len());
        for item in self.0 {
            match seq.next_element_seed(item)? {
                Some(body) => bodies.push(body),
                None => break,
            }
        }
        Ok(bodies)
    }
}
