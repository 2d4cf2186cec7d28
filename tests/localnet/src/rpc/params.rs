//! Reading parameters: hex, hashes, numbers in either notation.

use super::error::invalid_params;
use jsonrpsee::types::{ErrorObjectOwned, ParamsSequence};
use node_subtensor_runtime::Hash;
use serde_json::Value;

pub(super) fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub(super) fn from_hex(text: &str) -> Result<Vec<u8>, ErrorObjectOwned> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|error| invalid_params(format!("not hex: {error}")))
}

/// The next parameter as bytes.
pub(super) fn bytes(params: &mut ParamsSequence<'_>) -> Result<Vec<u8>, ErrorObjectOwned> {
    from_hex(&params.next::<String>()?)
}

/// The next parameter as bytes, if there is one.
pub(super) fn optional_bytes(
    params: &mut ParamsSequence<'_>,
) -> Result<Option<Vec<u8>>, ErrorObjectOwned> {
    params.optional_next::<String>()?.map(|text| from_hex(&text)).transpose()
}

/// The next parameter as a block hash, if there is one.
pub(super) fn block_hash(
    params: &mut ParamsSequence<'_>,
) -> Result<Option<Hash>, ErrorObjectOwned> {
    let Some(bytes) = optional_bytes(params)? else { return Ok(None) };
    let bytes: [u8; 32] =
        bytes.try_into().map_err(|_| invalid_params("a block hash has 32 bytes"))?;
    Ok(Some(bytes.into()))
}

/// A height, as a number or as hex.
pub(super) fn height(value: &Value) -> Result<u32, ErrorObjectOwned> {
    let number = match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => {
            text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok())
        }
        _ => None,
    };
    number.ok_or_else(|| invalid_params(format!("not a block number: {value}")))
}
