//! From bytes to metadata that can be used safely, and from a file to a report.
//!
//! Whoever serves metadata writes our decoder's program. Before the library converts it, what the
//! library takes for granted is checked here: that types refer to types that exist, that no type
//! contains itself without end, and that extensions refer to extensions.

use std::borrow::Cow;

use scale_info::{PortableRegistry, TypeDef};
use subxt::ext::codec::{Compact, Decode};
use subxt::ext::frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};
use subxt::Metadata;

use super::ShapeReport;

/// Longest metadata taken. Lower: a growing runtime is refused. Higher: a file of that size is
/// read into memory several times over. Real ones are below half a megabyte.
pub const METADATA_BYTES_MAX: usize = 16 << 20;

/// The largest file taken: hexadecimal, with some JSON around it.
const FILE_BYTES_MAX: usize = 2 * METADATA_BYTES_MAX + 4096;

/// First bytes of metadata.
const MAGIC: &[u8] = b"meta";

/// Before them may be an option's mark and a length, as runtime calls answer.
const MAGIC_OFFSET_MAX: usize = 5;

/// Parts of which one value consists at most, all of its fixed-size parts counted. Lower: a real
/// runtime is refused. Higher: a hostile one keeps us busy.
const PARTS_MAX: u64 = 1 << 20;

/// How deep fixed-size parts nest at most.
const DEPTH_MAX: usize = 64;

/// Why bytes are not metadata that can be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// More bytes than any chain has.
    #[error("{got} bytes are more than metadata can have ({limit})")]
    TooLong {
        /// How many.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A text that holds no metadata.
    #[error("neither metadata, nor hexadecimal, nor a JSON-RPC answer: {detail}")]
    NoMetadata {
        /// What is wrong.
        detail: String,
    },
    /// A JSON-RPC answer that is an error.
    #[error("the file holds an error of a node, not its answer: {message}")]
    RpcError {
        /// The node's message.
        message: String,
    },
    /// They begin like metadata, and go on otherwise.
    #[error("cannot decode the metadata: {detail}")]
    Undecodable {
        /// The decoder's message.
        detail: String,
    },
    /// Too old or too new.
    #[error("metadata of version {version} cannot be used; 14, 15 and 16 can")]
    Version {
        /// Its version.
        version: u32,
    },
    /// Well-formed, and not a description of any runtime.
    #[error("the metadata contradicts itself: {detail}")]
    Contradictory {
        /// What is wrong.
        detail: String,
    },
}

/// Decoders tell their whole way down, a line for each type; what was wrong stands last.
fn undecodable(error: impl ToString) -> MetadataError {
    let told = error.to_string();
    let last = told.lines().map(str::trim).rfind(|line| !line.is_empty());
    MetadataError::Undecodable { detail: last.unwrap_or(&told).to_owned() }
}

fn contradictory(detail: impl Into<String>) -> MetadataError {
    MetadataError::Contradictory { detail: detail.into() }
}

/// The head of a runtime's version, as `Core_version` answers and `System.Version` holds; later
/// fields are not of interest.
#[derive(Decode)]
#[codec(crate = subxt::ext::codec)]
pub(crate) struct Version {
    pub(crate) spec_name: String,
    _impl_name: String,
    _authoring_version: u32,
    pub(crate) spec_version: u32,
    _impl_version: u32,
    _apis: Vec<([u8; 8], u32)>,
    pub(crate) transaction_version: u32,
}

/// Compares the runtime that a file describes with everything the node uses.
///
/// - `file`: SCALE bytes as nodes serve them, bare or as a runtime call's answer; the same as
///   hexadecimal text; or the JSON of a JSON-RPC answer with it as `result`.
///
/// # Errors
///
/// [`MetadataError`] if the file is none of these, or its metadata cannot be used.
pub fn shapes_in_file(file: &[u8]) -> Result<ShapeReport, MetadataError> {
    metadata_in_file(file).map(|metadata| ShapeReport::of(&metadata))
}

/// The metadata in a file of one of the forms that [`shapes_in_file`] takes.
///
/// # Errors
///
/// As [`shapes_in_file`].
pub(crate) fn metadata_in_file(file: &[u8]) -> Result<Metadata, MetadataError> {
    decode_metadata(&scale_bytes(file)?)
}

/// The SCALE bytes in a file.
fn scale_bytes(file: &[u8]) -> Result<Cow<'_, [u8]>, MetadataError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(MetadataError::TooLong { got: file.len(), limit: FILE_BYTES_MAX });
    }
    if begins(file) {
        return Ok(Cow::Borrowed(file));
    }
    let none = |detail: &str| MetadataError::NoMetadata { detail: detail.to_owned() };
    let text = std::str::from_utf8(file).map_err(|_| none("it does not begin with `meta`"))?.trim();
    let answer;
    let hex = if text.starts_with('{') {
        answer = result_of(text)?;
        answer.trim()
    } else {
        text.trim_matches('"')
    };
    let bytes = hex::decode(hex.strip_prefix("0x").unwrap_or(hex))
        .map_err(|error| none(&error.to_string()))?;
    if begins(&bytes) {
        Ok(Cow::Owned(bytes))
    } else {
        Err(none("it does not begin with `meta`"))
    }
}

fn begins(bytes: &[u8]) -> bool {
    magic_offset(bytes).is_some()
}

fn magic_offset(bytes: &[u8]) -> Option<usize> {
    (0..=MAGIC_OFFSET_MAX).find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(MAGIC)))
}

#[derive(serde::Deserialize)]
struct RpcAnswer {
    result: Option<String>,
    error: Option<RpcAnswerError>,
}

#[derive(serde::Deserialize)]
struct RpcAnswerError {
    message: String,
}

fn result_of(json: &str) -> Result<String, MetadataError> {
    let answer: RpcAnswer = serde_json::from_str(json)
        .map_err(|error| MetadataError::NoMetadata { detail: error.to_string() })?;
    match (answer.result, answer.error) {
        (Some(result), _) => Ok(result),
        (None, Some(error)) => {
            Err(MetadataError::RpcError { message: super::compare::cut(&error.message) })
        }
        (None, None) => {
            Err(MetadataError::NoMetadata { detail: "the answer has no `result`".to_owned() })
        }
    }
}

/// Decodes metadata, bare or with an option's mark and a length before it.
///
/// # Errors
///
/// [`MetadataError`]; never panics, whatever the bytes.
pub(crate) fn decode_metadata(bytes: &[u8]) -> Result<Metadata, MetadataError> {
    if bytes.len() > METADATA_BYTES_MAX {
        return Err(MetadataError::TooLong { got: bytes.len(), limit: METADATA_BYTES_MAX });
    }
    let mut bytes = bare(bytes)?;
    let RuntimeMetadataPrefixed(_, metadata) =
        RuntimeMetadataPrefixed::decode(&mut bytes).map_err(undecodable)?;
    if !bytes.is_empty() {
        return Err(undecodable(format!("{} bytes are left over", bytes.len())));
    }
    match metadata {
        RuntimeMetadata::V14(metadata) => {
            check_types(&metadata.types)?;
            Metadata::from_v14(metadata).map_err(|error| contradictory(error.to_string()))
        }
        RuntimeMetadata::V15(metadata) => {
            check_types(&metadata.types)?;
            Metadata::from_v15(metadata).map_err(|error| contradictory(error.to_string()))
        }
        RuntimeMetadata::V16(metadata) => {
            check_types(&metadata.types)?;
            let known = metadata.extrinsic.transaction_extensions.len();
            let sets = metadata.extrinsic.transaction_extensions_by_version.values();
            if sets.flatten().any(|at| usize::try_from(at.0).map_or(true, |at| at >= known)) {
                return Err(contradictory("an extension set names an extension that is not there"));
            }
            Metadata::from_v16(metadata).map_err(|error| contradictory(error.to_string()))
        }
        other => Err(MetadataError::Version { version: other.version() }),
    }
}

/// Without what a runtime call's answer puts before it.
fn bare(bytes: &[u8]) -> Result<&[u8], MetadataError> {
    let offset = magic_offset(bytes).ok_or_else(|| undecodable("it does not begin with `meta`"))?;
    if offset == 0 {
        return Ok(bytes);
    }
    let mut rest = bytes;
    // The mark of an option that is filled. No length of real metadata begins with it.
    if rest.first() == Some(&1) {
        rest = rest.get(1..).unwrap_or_default();
    }
    let length = Compact::<u32>::decode(&mut rest).map_err(undecodable)?;
    if usize::try_from(length.0).ok() == Some(rest.len()) {
        Ok(rest)
    } else {
        Err(undecodable(format!("{} bytes announced, {} found", length.0, rest.len())))
    }
}

/// Checks that every type refers to types that exist and is of finite size.
fn check_types(types: &PortableRegistry) -> Result<(), MetadataError> {
    let count = types.types.len();
    for (at, found) in types.types.iter().enumerate() {
        if usize::try_from(found.id).ok() != Some(at) {
            return Err(contradictory(format!("type {at} says it is type {}", found.id)));
        }
        let (fixed, others) = parts(&found.ty.type_def);
        let parts = fixed.iter().chain(&others);
        if let Some(missing) = parts.into_iter().find(|id| **id as usize >= count) {
            return Err(contradictory(format!("type {at} is made of type {missing}, of {count}")));
        }
    }
    Sizes::new(types).check()
}

/// The types that a value of this type always contains, and those that it may.
fn parts(def: &TypeDef<scale_info::form::PortableForm>) -> (Vec<u32>, Vec<u32>) {
    match def {
        TypeDef::Composite(composite) => {
            (composite.fields.iter().map(|field| field.ty.id).collect(), Vec::new())
        }
        TypeDef::Tuple(tuple) => (tuple.fields.iter().map(|field| field.id).collect(), Vec::new()),
        TypeDef::Array(array) => (vec![array.type_param.id], Vec::new()),
        TypeDef::Compact(compact) => (vec![compact.type_param.id], Vec::new()),
        TypeDef::Variant(variant) => {
            let fields = variant.variants.iter().flat_map(|variant| &variant.fields);
            (Vec::new(), fields.map(|field| field.ty.id).collect())
        }
        TypeDef::Sequence(sequence) => (Vec::new(), vec![sequence.type_param.id]),
        TypeDef::BitSequence(bits) => {
            (Vec::new(), vec![bits.bit_store_type.id, bits.bit_order_type.id])
        }
        TypeDef::Primitive(_) => (Vec::new(), Vec::new()),
    }
}

/// How many fixed parts each type has, computed once per type.
struct Sizes<'a> {
    types: &'a PortableRegistry,
    /// `None` until known.
    known: Vec<Option<(u64, usize)>>,
    /// Being computed: met again, the type contains itself.
    open: Vec<bool>,
}

impl<'a> Sizes<'a> {
    fn new(types: &'a PortableRegistry) -> Self {
        let count = types.types.len();
        Self { types, known: vec![None; count], open: vec![false; count] }
    }

    fn check(mut self) -> Result<(), MetadataError> {
        (0..self.known.len()).try_for_each(|at| self.of(at, 0).map(|_| ()))
    }

    /// The parts and the depth of a type. Recurses at most [`DEPTH_MAX`] deep.
    fn of(&mut self, at: usize, above: usize) -> Result<(u64, usize), MetadataError> {
        if let Some(known) = self.known.get(at).copied().flatten() {
            return Ok(known);
        }
        let endless = self.open.get(at).copied().unwrap_or(true);
        if endless || above > DEPTH_MAX {
            return Err(contradictory(format!("type {at} contains itself, or nests too deep")));
        }
        self.set_open(at, true);
        let (fixed, _) = match self.types.types.get(at) {
            Some(found) => parts(&found.ty.type_def),
            None => return Err(contradictory(format!("no type {at}"))),
        };
        let (mut total, mut deepest) = (1u64, 0usize);
        for part in fixed {
            let (parts, depth) = self.of(part as usize, above + 1)?;
            total = total.saturating_add(parts);
            deepest = deepest.max(depth + 1);
        }
        if total > PARTS_MAX || deepest > DEPTH_MAX {
            return Err(contradictory(format!("type {at} has too many parts")));
        }
        self.set_open(at, false);
        if let Some(place) = self.known.get_mut(at) {
            *place = Some((total, deepest));
        }
        Ok((total, deepest))
    }

    fn set_open(&mut self, at: usize, open: bool) {
        if let Some(place) = self.open.get_mut(at) {
            *place = open;
        }
    }
}
