//! One expected shape against one type of a runtime.
//!
//! The walk follows the expected shape, which is finite; steps that it takes in the metadata alone
//! (through wrappers, into nothing) are counted.

use chain_metadata::Shape;
use scale_info::form::PortableForm;
use scale_info::{Field, PortableRegistry, TypeDef, TypeDefPrimitive, Variant};

/// One-field wrappers taken off in a row at most; real chains have three.
const WRAPPERS_MAX: usize = 16;

/// Types visited at most to find out that a type holds nothing.
const EMPTY_VISITS_MAX: usize = 256;

/// Reasons kept of one item; more are counted.
const NOTES_MAX: usize = 4;

/// Names listed in one reason; more are counted.
const NAMES_MAX: usize = 4;

/// How deep a type is described.
const DESCRIPTION_DEPTH: u8 = 4;

/// What a described type's text may have, in characters.
const DESCRIPTION_MAX: usize = 60;

/// Which way values go, which decides what a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the chain to us: wider integers and new fields and variants are welcome.
    Read,
    /// From us to the chain, by the runtime's own types: everything must be known, and fit.
    Write,
    /// From us to the chain, encoded without looking at the runtime's types.
    Exact,
}

/// Why two shapes do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference(pub(super) String);

/// A comparison of one item: where it is, and what it noted on the way.
pub(super) struct Walk<'a> {
    types: &'a PortableRegistry,
    direction: Direction,
    place: Vec<String>,
    notes: Vec<String>,
    notes_dropped: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(types: &'a PortableRegistry, direction: Direction) -> Self {
        Self { types, direction, place: Vec::new(), notes: Vec::new(), notes_dropped: 0 }
    }

    /// What is different but does no harm; `None` if nothing is.
    pub(super) fn into_note(self) -> Option<String> {
        if self.notes.is_empty() {
            return None;
        }
        let more = match self.notes_dropped {
            0 => String::new(),
            dropped => format!("; and {dropped} more"),
        };
        Some(format!("{}{more}", self.notes.join("; ")))
    }

    /// The same item, from here on in another direction.
    pub(super) fn turn(&mut self, direction: Direction) {
        self.direction = direction;
    }

    pub(super) fn note(&mut self, what: &str) {
        let note = format!("{}{what}", self.prefix());
        if self.notes.contains(&note) {
            return;
        }
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        } else {
            self.notes_dropped += 1;
        }
    }

    pub(super) fn differ<T>(&self, what: impl std::fmt::Display) -> Result<T, Difference> {
        Err(Difference(format!("{}{what}", self.prefix())))
    }

    fn prefix(&self) -> String {
        if self.place.is_empty() {
            return String::new();
        }
        format!("{}: ", self.place.join(".").replace(".[]", "[]"))
    }

    /// Compares one part, naming it in everything that is said about it.
    pub(super) fn part(
        &mut self,
        place: impl Into<String>,
        expected: &Shape,
        id: u32,
    ) -> Result<(), Difference> {
        self.place.push(place.into());
        let compared = self.compare(expected, id);
        self.place.pop();
        compared
    }

    /// Compares a type with what is expected of it.
    pub(super) fn compare(&mut self, expected: &Shape, id: u32) -> Result<(), Difference> {
        match expected {
            Shape::Any => self.resolve(id).map(|_| ()),
            Shape::Unit => self.unit(id),
            Shape::Bool => self.primitive(id, &TypeDefPrimitive::Bool, "a boolean"),
            Shape::Text => self.primitive(id, &TypeDefPrimitive::Str, "text"),
            Shape::Unsigned(bits) => self.unsigned(*bits, id),
            Shape::Share(bits) => self.share(*bits, id),
            Shape::Bytes(length) => self.bytes(*length, id),
            Shape::Sequence(inner) => self.sequence(inner, id),
            Shape::Tuple(parts) => self.tuple(parts, id),
            Shape::Fields(fields) => self.fields(fields, id),
            Shape::Variants(variants) => self.variants(variants, true, id),
            Shape::SomeVariants(variants) => self.variants(variants, false, id),
            Shape::Optional(inner) => self.optional(inner, id),
        }
    }

    fn resolve(&self, id: u32) -> Result<&'a TypeDef<PortableForm>, Difference> {
        match self.types.resolve(id) {
            Some(found) => Ok(&found.type_def),
            None => self.differ("its type is not in the metadata"),
        }
    }

    /// Takes one-field wrappers off: `NetUid(u16)` is `u16`, `BoundedVec(Vec<T>)` is `Vec<T>`, and
    /// a compact integer is an integer.
    fn erased(&self, id: u32) -> Result<&'a TypeDef<PortableForm>, Difference> {
        let mut def = self.resolve(id)?;
        for _ in 0..WRAPPERS_MAX {
            match self.unwrapped(def)? {
                Some(inner) => def = self.resolve(inner)?,
                None => return Ok(def),
            }
        }
        self.differ(format!("more than {WRAPPERS_MAX} wrappers around it"))
    }

    /// What is inside, if this is a wrapper.
    fn unwrapped(&self, def: &TypeDef<PortableForm>) -> Result<Option<u32>, Difference> {
        Ok(match def {
            TypeDef::Composite(composite) => match composite.fields.as_slice() {
                [only] => Some(only.ty.id),
                _ => None,
            },
            TypeDef::Tuple(tuple) => match tuple.fields.as_slice() {
                [only] => Some(only.id),
                _ => None,
            },
            TypeDef::Compact(_) if self.direction == Direction::Exact => {
                return self.differ("it is compact now, and we write it plainly");
            }
            TypeDef::Compact(compact) => Some(compact.type_param.id),
            TypeDef::Variant(_)
            | TypeDef::Sequence(_)
            | TypeDef::Array(_)
            | TypeDef::Primitive(_)
            | TypeDef::BitSequence(_) => None,
        })
    }

    fn unexpected<T>(&self, expected: &str, id: u32) -> Result<T, Difference> {
        self.differ(format!("{expected} expected, `{}` found", describe(self.types, id)))
    }

    fn unit(&self, id: u32) -> Result<(), Difference> {
        if is_empty(self.types, id) {
            Ok(())
        } else {
            self.unexpected("nothing", id)
        }
    }

    fn primitive(
        &self,
        id: u32,
        expected: &TypeDefPrimitive,
        words: &str,
    ) -> Result<(), Difference> {
        match self.erased(id)? {
            TypeDef::Primitive(found) if found == expected => Ok(()),
            _ => self.unexpected(words, id),
        }
    }

    /// The width of an unsigned integer.
    fn width(&self, expected: u8, id: u32) -> Result<u8, Difference> {
        let bits = match self.erased(id)? {
            TypeDef::Primitive(TypeDefPrimitive::U8) => 8,
            TypeDef::Primitive(TypeDefPrimitive::U16) => 16,
            TypeDef::Primitive(TypeDefPrimitive::U32) => 32,
            TypeDef::Primitive(TypeDefPrimitive::U64) => 64,
            TypeDef::Primitive(TypeDefPrimitive::U128) => 128,
            _ => return self.unexpected(&format!("`u{expected}`"), id),
        };
        Ok(bits)
    }

    fn unsigned(&mut self, expected: u8, id: u32) -> Result<(), Difference> {
        let found = self.width(expected, id)?;
        match self.direction {
            // Any value of fewer bits is one of more bits.
            _ if found == expected => {}
            Direction::Read if found < expected => {}
            Direction::Read => self.note(&format!(
                "`u{expected}` is `u{found}` now; a value that needs the new bits is refused"
            )),
            Direction::Write if found > expected => {
                self.note(&format!("`u{expected}` is `u{found}` now, which holds all we write"));
            }
            Direction::Write | Direction::Exact => {
                return self.differ(format!("`u{expected}` expected, `u{found}` found"));
            }
        }
        Ok(())
    }

    fn share(&self, expected: u8, id: u32) -> Result<(), Difference> {
        let found = self.width(expected, id)?;
        if found == expected {
            return Ok(());
        }
        self.differ(format!(
            "a share of the largest `u{expected}` expected, `u{found}` found: numbers would mean \
             something else"
        ))
    }

    fn bytes(&self, length: u16, id: u32) -> Result<(), Difference> {
        let expected = || format!("{length} bytes");
        match self.erased(id)? {
            TypeDef::Array(array) if array.len == u32::from(length) => {
                match self.erased(array.type_param.id)? {
                    TypeDef::Primitive(TypeDefPrimitive::U8) => Ok(()),
                    _ => self.unexpected(&expected(), id),
                }
            }
            _ => self.unexpected(&expected(), id),
        }
    }

    fn sequence(&mut self, inner: &Shape, id: u32) -> Result<(), Difference> {
        match self.erased(id)? {
            TypeDef::Sequence(sequence) => self.part("[]", inner, sequence.type_param.id),
            TypeDef::Array(array) if self.direction == Direction::Read => {
                self.note(&format!("a list of always {} now", array.len));
                self.part("[]", inner, array.type_param.id)
            }
            _ => self.unexpected("a list", id),
        }
    }

    fn tuple(&mut self, parts: &[Shape], id: u32) -> Result<(), Difference> {
        let found: Vec<u32> = match self.erased(id)? {
            TypeDef::Tuple(tuple) => tuple.fields.iter().map(|field| field.id).collect(),
            TypeDef::Composite(composite) => {
                composite.fields.iter().map(|field| field.ty.id).collect()
            }
            _ => return self.unexpected(&format!("a tuple of {}", parts.len()), id),
        };
        if found.len() != parts.len() {
            return self.differ(format!("{} parts expected, {} found", parts.len(), found.len()));
        }
        let mut numbered = (0..).zip(parts.iter().zip(found));
        numbered
            .try_for_each(|(number, (part, id)): (u32, _)| self.part(number.to_string(), part, id))
    }

    /// Named fields, of the first struct inside the wrappers that has all of them.
    fn fields(&mut self, expected: &[(&str, Shape)], id: u32) -> Result<(), Difference> {
        let mut def = self.resolve(id)?;
        for _ in 0..WRAPPERS_MAX {
            if let TypeDef::Composite(composite) = def {
                if expected.iter().all(|(name, _)| named(&composite.fields, name).is_some()) {
                    return self.named_fields(expected, &composite.fields, "field");
                }
            }
            match self.unwrapped(def)? {
                Some(inner) => def = self.resolve(inner)?,
                None => break,
            }
        }
        match def {
            TypeDef::Composite(composite) => {
                self.named_fields(expected, &composite.fields, "field")
            }
            _ => self.unexpected("a struct", id),
        }
    }

    /// Fields or arguments by name. What we write must be all there is, and all there is must be
    /// what we write; in which order does not matter.
    pub(super) fn named_fields(
        &mut self,
        expected: &[(&str, Shape)],
        found: &[Field<PortableForm>],
        word: &str,
    ) -> Result<(), Difference> {
        let missing = expected.iter().map(|(name, _)| *name);
        let missing: Vec<&str> = missing.filter(|name| named(found, name).is_none()).collect();
        let known = |field: &&Field<PortableForm>| {
            let name = field.name.as_deref();
            expected.iter().any(|(expected, _)| name == Some(*expected))
        };
        let new: Vec<&str> = found
            .iter()
            .filter(|field| !known(field))
            .map(|field| field.name.as_deref().unwrap_or("(no name)"))
            .collect();
        let must_know = self.direction != Direction::Read;
        if !missing.is_empty() || (must_know && !new.is_empty()) {
            let missing = (!missing.is_empty()).then(|| format!("no {word} {}", list(&missing)));
            let new =
                (!new.is_empty() && must_know).then(|| format!("a new {word} {}", list(&new)));
            let both: Vec<String> = missing.into_iter().chain(new).collect();
            return self.differ(both.join(", "));
        }
        if must_know && found.len() != expected.len() {
            return self.differ(format!(
                "{} {word}s expected, {} found",
                expected.len(),
                found.len()
            ));
        }
        let in_order = found
            .iter()
            .zip(expected)
            .all(|(field, (name, _))| field.name.as_deref() == Some(*name));
        if must_know && !in_order {
            self.note(&format!("the {word}s are in another order; they are written by name"));
        }
        for (name, shape) in expected {
            if let Some(field) = named(found, name) {
                self.part(*name, shape, field.ty.id)?;
            }
        }
        Ok(())
    }

    fn variants(
        &mut self,
        expected: &[(&str, Shape)],
        complete: bool,
        id: u32,
    ) -> Result<(), Difference> {
        let TypeDef::Variant(found) = self.erased(id)? else {
            return self.unexpected("an enumeration", id);
        };
        let has = |name: &str| found.variants.iter().find(|variant| variant.name == name);
        let names = expected.iter().map(|(name, _)| *name);
        let missing: Vec<&str> = names.filter(|name| has(name).is_none()).collect();
        if !missing.is_empty() {
            return self.differ(format!("no variant {}", list(&missing)));
        }
        for (name, carried) in expected {
            if let Some(variant) = has(name) {
                self.carried(name, carried, variant)?;
            }
        }
        let new = found.variants.iter().map(|variant| variant.name.as_str());
        let new: Vec<&str> =
            new.filter(|name| expected.iter().all(|(expected, _)| expected != name)).collect();
        if complete && !new.is_empty() {
            self.note(&format!("also {}, not known here", list(&new)));
        }
        Ok(())
    }

    /// What a variant carries.
    fn carried(
        &mut self,
        name: &str,
        expected: &Shape,
        variant: &Variant<PortableForm>,
    ) -> Result<(), Difference> {
        self.place.push(name.to_owned());
        match (expected, variant.fields.as_slice()) {
            (Shape::Unit, fields) => {
                if !fields.iter().all(|field| is_empty(self.types, field.ty.id)) {
                    return self.differ("it carries something now");
                }
            }
            (Shape::Any, _) => {}
            (expected, [only]) => self.compare(expected, only.ty.id)?,
            (Shape::Fields(expected), fields) => self.named_fields(expected, fields, "field")?,
            (Shape::Tuple(parts), fields) if parts.len() == fields.len() => {
                for (part, field) in parts.iter().zip(fields) {
                    self.compare(part, field.ty.id)?;
                }
            }
            (_, fields) => {
                return self.differ(format!("another number of fields: {}", fields.len()));
            }
        }
        self.place.pop();
        Ok(())
    }

    fn optional(&mut self, inner: &Shape, id: u32) -> Result<(), Difference> {
        let TypeDef::Variant(found) = self.erased(id)? else {
            return self.unexpected("an option", id);
        };
        match found.variants.as_slice() {
            [none, some] if none.name == "None" && some.name == "Some" => {
                match (none.fields.as_slice(), some.fields.as_slice()) {
                    ([], [value]) => self.compare(inner, value.ty.id),
                    _ => self.unexpected("an option", id),
                }
            }
            _ => self.unexpected("an option", id),
        }
    }
}

fn named<'f>(fields: &'f [Field<PortableForm>], name: &str) -> Option<&'f Field<PortableForm>> {
    fields.iter().find(|field| field.name.as_deref() == Some(name))
}

/// Names in backticks, the first few of them.
fn list(names: &[&str]) -> String {
    let shown: Vec<String> =
        names.iter().take(NAMES_MAX).map(|name| format!("`{}`", cut(name))).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A foreign name, short enough and without control characters.
pub(super) fn cut(name: &str) -> String {
    let mut clean: String =
        name.chars().filter(|letter| !letter.is_control()).take(DESCRIPTION_MAX + 1).collect();
    if clean.chars().count() > DESCRIPTION_MAX {
        clean.pop();
        clean.push('…');
    }
    clean
}

/// Whether values of a type take no bytes at all; false where that cannot be told within
/// [`EMPTY_VISITS_MAX`] types.
pub(super) fn is_empty(types: &PortableRegistry, id: u32) -> bool {
    let mut waiting = vec![id];
    for _ in 0..EMPTY_VISITS_MAX {
        let Some(id) = waiting.pop() else { return true };
        match types.resolve(id).map(|found| &found.type_def) {
            Some(TypeDef::Composite(composite)) => {
                waiting.extend(composite.fields.iter().map(|field| field.ty.id));
            }
            Some(TypeDef::Tuple(tuple)) => {
                waiting.extend(tuple.fields.iter().map(|field| field.id));
            }
            Some(TypeDef::Array(array)) if array.len == 0 => {}
            Some(TypeDef::Array(array)) => waiting.push(array.type_param.id),
            _ => return false,
        }
    }
    waiting.is_empty()
}

/// A type in a few words, as Rust would write it: `NetUid(u16)`, `Vec<(u16, u16)>`.
pub(super) fn describe(types: &PortableRegistry, id: u32) -> String {
    let mut text = String::new();
    describe_into(types, id, DESCRIPTION_DEPTH, &mut text);
    cut(&text)
}

fn describe_into(types: &PortableRegistry, id: u32, depth: u8, out: &mut String) {
    let Some(found) = types.resolve(id) else {
        out.push('?');
        return;
    };
    let name = found.path.segments.last().map_or("", |segment| segment.as_str());
    if depth == 0 || out.len() > 4 * DESCRIPTION_MAX {
        out.push_str(if name.is_empty() { "…" } else { name });
        return;
    }
    let mut inner = |id, before: &str, after: &str| {
        out.push_str(before);
        describe_into(types, id, depth - 1, out);
        out.push_str(after);
    };
    match &found.type_def {
        TypeDef::Composite(composite) => match composite.fields.as_slice() {
            [only] => inner(only.ty.id, &format!("{name}("), ")"),
            [] => out.push_str(if name.is_empty() { "()" } else { name }),
            [_, ..] => out.push_str(if name.is_empty() { "struct" } else { name }),
        },
        TypeDef::Variant(variant) => match variant.variants.as_slice() {
            [_, some] if name == "Option" && some.fields.len() == 1 => {
                if let Some(value) = some.fields.first() {
                    inner(value.ty.id, "Option<", ">");
                }
            }
            _ => out.push_str(if name.is_empty() { "enum" } else { name }),
        },
        TypeDef::Sequence(sequence) => inner(sequence.type_param.id, "Vec<", ">"),
        TypeDef::Array(array) => {
            inner(array.type_param.id, "[", &format!("; {}]", array.len));
        }
        TypeDef::Tuple(tuple) => {
            out.push('(');
            for (place, field) in tuple.fields.iter().take(8).enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                describe_into(types, field.id, depth - 1, out);
            }
            out.push(')');
        }
        TypeDef::Primitive(primitive) => {
            out.push_str(&format!("{primitive:?}").to_lowercase());
        }
        TypeDef::Compact(compact) => inner(compact.type_param.id, "Compact<", ">"),
        TypeDef::BitSequence(_) => out.push_str("bits"),
    }
}
