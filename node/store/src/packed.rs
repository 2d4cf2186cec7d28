//! The payload of a record: MessagePack with the names of fields, ids and keys as bytes.
//!
//! A third of the JSON's length, which a commit copies four times. It names its fields like JSON,
//! so that rows can gain fields with a default as before. People read rows in a backup, which is
//! JSON still.

use std::fmt;
use std::io::Cursor;

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// Stands before the digits of bytes in a [`Value`], which has no bytes. No text of a row has a
/// zero in it.
const BYTES_MARK: &str = "\0bytes:";

/// Appends a value.
///
/// # Errors
///
/// No value of a row is refused.
pub(crate) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value.serialize(&mut serializer).map_err(serde::ser::Error::custom)
}

/// Reads a value that takes all of `payload`.
///
/// # Errors
///
/// For whatever is not exactly one such value.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(payload));
    let value = T::deserialize(&mut deserializer).map_err(de::Error::custom)?;
    if deserializer.position() != payload.len() as u64 {
        return Err(de::Error::custom("bytes follow it"));
    }
    Ok(value)
}

/// The payload as what migrations change; bytes are marked text there.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn to_json(payload: &[u8]) -> Result<Value, serde_json::Error> {
    read::<Unpacked>(payload).map(|Unpacked(value)| value)
}

/// The way back. Text forms of ids, as in old records, stay text; ids are read from either.
///
/// # Errors
///
/// As [`write`].
pub(crate) fn of_json(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut payload = Vec::new();
    write(&Packable(value), &mut payload)?;
    Ok(payload)
}

struct Unpacked(Value);

impl<'de> Deserialize<'de> for Unpacked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a row")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::String(format!("{BYTES_MARK}{}", hex::encode(bytes))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unpacked(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((Unpacked(key), Unpacked(value))) = entries.next_entry()? {
            let Value::String(key) = key else {
                return Err(de::Error::custom("a key is neither text nor bytes"));
            };
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

struct Packable<'a>(&'a Value);

impl Serialize for Packable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => write_number(number, serializer),
            Value::String(text) => PackableText(text).serialize(serializer),
            Value::Array(values) => {
                let mut items = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    items.serialize_element(&Packable(value))?;
                }
                items.end()
            }
            Value::Object(values) => {
                let mut entries = serializer.serialize_map(Some(values.len()))?;
                for (key, value) in values {
                    entries.serialize_entry(&PackableText(key), &Packable(value))?;
                }
                entries.end()
            }
        }
    }
}

/// By value: a number that serialises itself is a map where another crate of the build asks
/// `serde_json` for numbers of any precision.
fn write_number<S: Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(value) = number.as_u64() {
        serializer.serialize_u64(value)
    } else if let Some(value) = number.as_i64() {
        serializer.serialize_i64(value)
    } else if let Some(value) = number.as_f64() {
        serializer.serialize_f64(value)
    } else {
        Err(serde::ser::Error::custom("a number is neither of 64 bits nor a fraction"))
    }
}

struct PackableText<'a>(&'a str);

impl Serialize for PackableText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.strip_prefix(BYTES_MARK).and_then(|digits| hex::decode(digits).ok());
        match bytes {
            Some(bytes) => serializer.serialize_bytes(&bytes),
            None => serializer.serialize_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use node_core::id::{Digest, Hotkey};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", tag = "kind")]
    enum Tagged {
        Unit,
        Held { by: Hotkey, result: Option<Digest>, shown: BTreeMap<Hotkey, Digest> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u64,
        negative: i64,
        share: f64,
        text: String,
        states: Vec<Tagged>,
        #[serde(default)]
        added: u32,
    }

    fn sample() -> Sample {
        let (by, result) = (Hotkey([1; 32]), Some(Digest([2; 32])));
        let shown = BTreeMap::from([(Hotkey([3; 32]), Digest([4; 32]))]);
        let states = vec![Tagged::Unit, Tagged::Held { by, result, shown }];
        let text = "text".to_owned();
        Sample { number: u64::MAX, negative: -1, share: 0.5, text, states, added: 0 }
    }

    fn packed(value: &impl Serialize) -> Vec<u8> {
        let mut payload = Vec::new();
        write(value, &mut payload).unwrap();
        payload
    }

    #[test]
    fn a_value_is_read_back_and_nothing_may_follow_it() {
        let mut payload = packed(&sample());
        assert_eq!(read::<Sample>(&payload).unwrap(), sample());
        payload.push(0xc0);
        assert!(read::<Sample>(&payload).is_err());
    }

    #[test]
    fn ids_are_written_as_bytes() {
        let id = Digest([7; 32]);
        assert_eq!(packed(&id), [[0xc4, 32].as_slice(), &id.0].concat());
        assert!(read::<Digest>(&packed(&id)[..20]).is_err());
        assert!(read::<Digest>(&[0xc4, 2, 7, 7]).is_err());
    }

    #[test]
    fn what_migrations_see_leads_back_to_the_same_value() {
        let payload = packed(&sample());
        let value = to_json(&payload).unwrap();
        assert_eq!(value["states"][0]["kind"], "unit");
        assert_eq!(read::<Sample>(&of_json(&value).unwrap()).unwrap(), sample());
    }

    #[test]
    fn text_forms_of_ids_and_missing_fields_with_a_default_are_read() {
        let mut value = serde_json::to_value(sample()).unwrap();
        value.as_object_mut().unwrap().remove("added").unwrap();
        assert_eq!(read::<Sample>(&of_json(&value).unwrap()).unwrap(), sample());
    }
}
