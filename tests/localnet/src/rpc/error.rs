//! Errors with the numbers and words of a real node, because clients read both.

use crate::{
    admin::ChangeError,
    chain::{QueryError, SealError, SubmitError},
};
use jsonrpsee::types::ErrorObjectOwned;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

/// The numbers.
pub mod code {
    /// Parameters that are not what the method takes.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The bytes are not an extrinsic, or the runtime could not be asked.
    pub const VERIFICATION: i32 = 1002;
    /// The runtime refuses the transaction.
    pub const INVALID_TRANSACTION: i32 = 1010;
    /// The runtime cannot tell.
    pub const UNKNOWN_VALIDITY: i32 = 1011;
    /// Included or refused a short while ago.
    pub const TEMPORARILY_BANNED: i32 = 1012;
    /// In the pool.
    pub const ALREADY_IMPORTED: i32 = 1013;
    /// Another one with this nonce is in the pool.
    pub const TOO_LOW_PRIORITY: i32 = 1014;
    /// The pool is full.
    pub const IMMEDIATELY_DROPPED: i32 = 1016;
    /// More keys asked for than a page has.
    pub const INVALID_COUNT: i32 = 4002;
    /// Block, state or runtime call failed.
    pub const CLIENT: i32 = 4003;
    /// No block could be sealed.
    pub const SEAL: i32 = 5000;
}

pub(super) fn error(
    code: i32,
    message: impl Into<String>,
    data: Option<String>,
) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message.into(), data)
}

pub(super) fn invalid_params(message: impl Into<String>) -> ErrorObjectOwned {
    error(code::INVALID_PARAMS, message, None)
}

pub(super) fn of_query(failure: QueryError) -> ErrorObjectOwned {
    let reason = match failure {
        QueryError::UnknownBlock(hash) => {
            format!("UnknownBlock: Header was not found in the database: {hash:?}")
        }
        QueryError::StateDiscarded(hash) => {
            format!("UnknownBlock: State already discarded for {hash:?}")
        }
        QueryError::UnknownMethod(method) => {
            format!("Execution failed: Other(\"Exported method {method} is not found\")")
        }
        QueryError::Panicked { source } => format!("Execution failed: {source}"),
        other @ (QueryError::State(_) | QueryError::Extrinsic(_) | QueryError::Metadata(_)) => {
            other.to_string()
        }
    };
    error(code::CLIENT, format!("Client error: {reason}"), None)
}

pub(super) fn of_seal(failure: &SealError) -> ErrorObjectOwned {
    let mut reasons = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        reasons.push_str(&format!(": {error}"));
        cause = error.source();
    }
    error(code::SEAL, reasons, None)
}

pub(super) fn of_change(failure: ChangeError) -> ErrorObjectOwned {
    match failure {
        ChangeError::Nonce { source }
        | ChangeError::Version { source }
        | ChangeError::Code { source } => of_query(source),
        ChangeError::Submit { source } => of_submit(source),
    }
}

pub(super) fn of_submit(failure: SubmitError) -> ErrorObjectOwned {
    match failure {
        SubmitError::Decode(reason) | SubmitError::Panicked(reason) => error(
            code::VERIFICATION,
            format!("Verification Error: Runtime error: Execution failed: {reason}"),
            Some(format!("RuntimeApi(\"Execution failed: {reason}\")")),
        ),
        SubmitError::Invalid(TransactionValidityError::Invalid(reason)) => {
            let data = match reason {
                InvalidTransaction::Custom(number) => format!("Custom error: {number}"),
                other => <&'static str>::from(other).to_owned(),
            };
            error(code::INVALID_TRANSACTION, "Invalid Transaction", Some(data))
        }
        SubmitError::Invalid(TransactionValidityError::Unknown(reason)) => error(
            code::UNKNOWN_VALIDITY,
            "Unknown Transaction Validity",
            Some(<&'static str>::from(reason).to_owned()),
        ),
        SubmitError::TemporarilyBanned => {
            error(code::TEMPORARILY_BANNED, "Transaction is temporarily banned", None)
        }
        SubmitError::AlreadyImported(hash) => {
            error(code::ALREADY_IMPORTED, "Transaction Already Imported", Some(format!("{hash:?}")))
        }
        SubmitError::TooLowPriority { old, new } => error(
            code::TOO_LOW_PRIORITY,
            format!("Priority is too low: ({old} vs {new})"),
            Some(
                "The transaction has too low priority to replace another transaction already in \
                 the pool."
                    .to_owned(),
            ),
        ),
        SubmitError::ImmediatelyDropped => error(
            code::IMMEDIATELY_DROPPED,
            "Immediately Dropped",
            Some("The transaction couldn't enter the pool because of the limit".to_owned()),
        ),
    }
}
