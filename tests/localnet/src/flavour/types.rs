//! The types of a metadata, and adding to them.

use scale_info::{
    form::PortableForm, Field, Path, PortableType, Type, TypeDef, TypeDefArray, TypeDefCompact,
    TypeDefComposite, TypeDefPrimitive, TypeDefSequence, TypeDefTuple,
};
use std::collections::HashMap;

/// A number under a name of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Newtype {
    NetUid,
    NetUidStorageIndex,
    MechId,
    TaoBalance,
    AlphaBalance,
    PerU16,
}

impl Newtype {
    fn name(self) -> &'static str {
        match self {
            Self::NetUid => "NetUid",
            Self::NetUidStorageIndex => "NetUidStorageIndex",
            Self::MechId => "MechId",
            Self::TaoBalance => "TaoBalance",
            Self::AlphaBalance => "AlphaBalance",
            Self::PerU16 => "PerU16",
        }
    }

    /// The number it is, and how Rust calls that.
    fn number(self) -> (TypeDefPrimitive, &'static str) {
        match self {
            Self::NetUid | Self::NetUidStorageIndex | Self::PerU16 => {
                (TypeDefPrimitive::U16, "u16")
            }
            Self::MechId => (TypeDefPrimitive::U8, "u8"),
            Self::TaoBalance | Self::AlphaBalance => (TypeDefPrimitive::U64, "u64"),
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::PerU16 => "sp_arithmetic::per_things",
            _ => "subtensor_runtime_common",
        }
    }
}

/// The types of one metadata. Ids are positions.
pub(super) struct Types<'m> {
    types: &'m mut Vec<PortableType>,
    newtypes: HashMap<Newtype, u32>,
    wrapped: HashMap<(u32, Newtype), u32>,
}

impl<'m> Types<'m> {
    pub(super) fn new(types: &'m mut Vec<PortableType>) -> Self {
        Self { types, newtypes: HashMap::new(), wrapped: HashMap::new() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, id: u32) -> Option<&PortableType> {
        self.types.get(usize::try_from(id).ok()?)
    }

    /// A type's path; empty for one without and for one that is not there.
    pub(super) fn path(&self, id: u32) -> String {
        self.get(id).map(|ty| ty.ty.path.segments.join("::")).unwrap_or_default()
    }

    /// What a type is; nothing, for one that is not there.
    pub(super) fn definition(&self, id: u32) -> TypeDef<PortableForm> {
        let nothing = || TypeDefTuple { fields: Vec::new() }.into();
        self.get(id).map_or_else(nothing, |ty| ty.ty.type_def.clone())
    }

    pub(super) fn redefine(&mut self, id: u32, definition: TypeDef<PortableForm>) {
        if let Some(ty) = usize::try_from(id).ok().and_then(|id| self.types.get_mut(id)) {
            ty.ty.type_def = definition;
        }
    }

    fn add(&mut self, ty: Type<PortableForm>) -> u32 {
        let id = self.count();
        self.types.push(PortableType { id, ty });
        id
    }

    fn add_nameless(&mut self, definition: impl Into<TypeDef<PortableForm>>) -> u32 {
        self.add(Type::new(Path::from_segments_unchecked([]), [], definition.into(), Vec::new()))
    }

    /// Adds a type with a path.
    pub(super) fn add_named(
        &mut self,
        module: &str,
        name: &str,
        definition: impl Into<TypeDef<PortableForm>>,
    ) -> u32 {
        let segments = module.split("::").chain([name]).map(ToOwned::to_owned);
        let path = Path::from_segments_unchecked(segments);
        self.add(Type::new(path, [], definition.into(), Vec::new()))
    }

    fn primitive(&mut self, wanted: &TypeDefPrimitive) -> u32 {
        let is_it = |ty: &&PortableType| ty.ty.type_def == TypeDef::Primitive(wanted.clone());
        match self.types.iter().find(is_it) {
            Some(found) => found.id,
            None => self.add_nameless(wanted.clone()),
        }
    }

    /// The composite of one nameless field that a newtype is.
    pub(super) fn newtype(&mut self, newtype: Newtype) -> u32 {
        if let Some(known) = self.newtypes.get(&newtype) {
            return *known;
        }
        let (number, name) = newtype.number();
        let field = Field {
            name: None,
            ty: self.primitive(&number).into(),
            type_name: Some(name.to_owned()),
            docs: Vec::new(),
        };
        let composite = TypeDefComposite { fields: vec![field] };
        let id = self.add_named(newtype.module(), newtype.name(), composite);
        self.newtypes.insert(newtype, id);
        id
    }

    /// The same type with the newtype wherever its number stood: in lists, tuples, options, and
    /// containers of one field, but not inside other structures.
    pub(super) fn wrapped(&mut self, id: u32, newtype: Newtype) -> u32 {
        if let Some(known) = self.wrapped.get(&(id, newtype)) {
            return *known;
        }
        let wrapped = self.wrap(id, newtype);
        self.wrapped.insert((id, newtype), wrapped);
        wrapped
    }

    fn wrap(&mut self, id: u32, newtype: Newtype) -> u32 {
        match self.definition(id) {
            TypeDef::Primitive(number) if number == newtype.number().0 => self.newtype(newtype),
            TypeDef::Sequence(list) => {
                let of = list.type_param.id;
                self.around(id, of, newtype, |of| TypeDefSequence::new(of.into()).into())
            }
            TypeDef::Compact(compact) => {
                let of = compact.type_param.id;
                self.around(id, of, newtype, |of| TypeDefCompact::new(of.into()).into())
            }
            TypeDef::Array(array) => {
                let of = array.type_param.id;
                self.around(id, of, newtype, |of| TypeDefArray::new(array.len, of.into()).into())
            }
            TypeDef::Tuple(tuple) => {
                let fields: Vec<u32> =
                    tuple.fields.iter().map(|field| self.wrapped(field.id, newtype)).collect();
                let changed = fields.iter().zip(&tuple.fields).any(|(new, old)| *new != old.id);
                self.tuple_if(changed, id, fields)
            }
            TypeDef::Composite(_) | TypeDef::Variant(_) if self.is_container(id) => {
                self.wrap_container(id, newtype)
            }
            _ => id,
        }
    }

    fn around(
        &mut self,
        id: u32,
        of: u32,
        newtype: Newtype,
        build: impl FnOnce(u32) -> TypeDef<PortableForm>,
    ) -> u32 {
        let wrapped = self.wrapped(of, newtype);
        if wrapped == of {
            return id;
        }
        self.add_nameless(build(wrapped))
    }

    fn tuple_if(&mut self, changed: bool, id: u32, fields: Vec<u32>) -> u32 {
        if !changed {
            return id;
        }
        let fields = fields.into_iter().map(Into::into).collect();
        self.add_nameless(TypeDefTuple { fields })
    }

    fn is_container(&self, id: u32) -> bool {
        let path = self.path(id);
        let name = path.rsplit("::").next().unwrap_or_default();
        ["Option", "BoundedVec", "BTreeSet", "BTreeMap"].contains(&name)
    }

    fn wrap_container(&mut self, id: u32, newtype: Newtype) -> u32 {
        let Some(mut ty) = self.get(id).map(|ty| ty.ty.clone()) else { return id };
        let before = ty.type_def.clone();
        match &mut ty.type_def {
            TypeDef::Composite(composite) => self.wrap_all(&mut composite.fields, newtype),
            TypeDef::Variant(variants) => {
                for variant in &mut variants.variants {
                    self.wrap_all(&mut variant.fields, newtype);
                }
            }
            _ => {}
        }
        if ty.type_def == before {
            return id;
        }
        for parameter in &mut ty.type_params {
            if let Some(of) = parameter.ty {
                parameter.ty = Some(self.wrapped(of.id, newtype).into());
            }
        }
        self.add(ty)
    }

    fn wrap_all(&mut self, fields: &mut [Field<PortableForm>], newtype: Newtype) {
        for field in fields {
            field.ty = self.wrapped(field.ty.id, newtype).into();
        }
    }

    /// The same key with the newtype in the place of its first number of that kind: maps are keyed
    /// by subnet and uid, and only the first is a subnet.
    pub(super) fn with_first_wrapped(&mut self, id: u32, newtype: Newtype) -> u32 {
        let number = TypeDef::Primitive(newtype.number().0);
        match self.definition(id) {
            TypeDef::Tuple(tuple) => {
                let mut fields: Vec<u32> = tuple.fields.iter().map(|field| field.id).collect();
                let first = fields.iter().position(|field| self.definition(*field) == number);
                if let Some(field) = first.and_then(|first| fields.get_mut(first)) {
                    *field = self.newtype(newtype);
                }
                self.tuple_if(first.is_some(), id, fields)
            }
            definition if definition == number => self.newtype(newtype),
            _ => id,
        }
    }
}
