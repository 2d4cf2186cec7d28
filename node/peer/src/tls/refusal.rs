//! Why a certificate is refused, and how that is said in TLS.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// Why a peer's certificate is refused, or ours by a peer. Each has a TLS alert of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum CertificateRefusal {
    /// No certificate was shown.
    #[error("no certificate was shown")]
    Missing,
    /// The certificate or the endorsement in it is too large, unreadable, or of an unknown layout.
    #[error("the certificate or its endorsement cannot be read")]
    Malformed,
    /// The certificate has no endorsement.
    #[error("the certificate has no endorsement by a hotkey")]
    EndorsementMissing,
    /// The endorsement is not signed by the hotkey it names, or the handshake not by the
    /// certificate's key.
    #[error("the signature of the endorsement or of the handshake does not hold")]
    BadSignature,
    /// The endorsement has expired, or it ends farther in the future than it may.
    #[error("the endorsement has expired, or ends too far in the future")]
    Expired,
    /// The endorsement is for another chain.
    #[error("the endorsement is for another chain")]
    WrongChain,
    /// The endorsement is for another subnet.
    #[error("the endorsement is for another subnet")]
    WrongNetuid,
    /// The hotkey is not a validator of the latest view.
    #[error("the hotkey is not a validator of this subnet")]
    NotAValidator,
    /// The hotkey is not the one that was to be called.
    #[error("the certificate is another validator's")]
    WrongPeer,
    /// The chain says another certificate key for this hotkey, and this one is not new.
    #[error(
        "the certificate's key is not the one that its hotkey published on chain, and was endorsed \
         too long ago to be a new one"
    )]
    KeyNotPublished,
}

impl CertificateRefusal {
    /// Every refusal.
    pub const ALL: &[Self] = &[
        Self::Missing,
        Self::Malformed,
        Self::EndorsementMissing,
        Self::BadSignature,
        Self::Expired,
        Self::WrongChain,
        Self::WrongNetuid,
        Self::NotAValidator,
        Self::WrongPeer,
        Self::KeyNotPublished,
    ];

    /// The public id, as in the protocol and in logs.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Missing => "certificate_missing",
            Self::Malformed => "certificate_malformed",
            Self::EndorsementMissing => "endorsement_missing",
            Self::BadSignature => "endorsement_bad_signature",
            Self::Expired => "endorsement_expired",
            Self::WrongChain => "endorsement_wrong_chain",
            Self::WrongNetuid => "endorsement_wrong_netuid",
            Self::NotAValidator => "certificate_not_a_validator",
            Self::WrongPeer => "certificate_wrong_peer",
            Self::KeyNotPublished => "certificate_key_not_published",
        }
    }

    /// The alert by which the other end learns of it.
    fn alert(self) -> AlertDescription {
        match self {
            Self::Missing => AlertDescription::CertificateRequired,
            Self::Malformed => AlertDescription::BadCertificate,
            Self::EndorsementMissing => AlertDescription::BadCertificateStatusResponse,
            Self::BadSignature => AlertDescription::DecryptError,
            Self::Expired => AlertDescription::CertificateExpired,
            Self::WrongChain => AlertDescription::UnknownCA,
            Self::WrongNetuid => AlertDescription::UnsupportedCertificate,
            Self::NotAValidator => AlertDescription::AccessDenied,
            Self::WrongPeer => AlertDescription::CertificateUnknown,
            Self::KeyNotPublished => AlertDescription::CertificateRevoked,
        }
    }

    /// The error that makes rustls send [`Self::alert`].
    pub(super) fn into_tls(self) -> Error {
        let error = match self {
            Self::Missing => return Error::NoCertificatesPresented,
            Self::Malformed => CertificateError::BadEncoding,
            Self::EndorsementMissing => CertificateError::InvalidOcspResponse,
            Self::BadSignature => CertificateError::BadSignature,
            Self::Expired => CertificateError::Expired,
            Self::WrongChain => CertificateError::UnknownIssuer,
            Self::WrongNetuid => CertificateError::InvalidPurpose,
            Self::NotAValidator => CertificateError::ApplicationVerificationFailure,
            Self::WrongPeer => CertificateError::Other(OtherError(std::sync::Arc::new(self))),
            Self::KeyNotPublished => CertificateError::Revoked,
        };
        Error::InvalidCertificate(error)
    }

    fn from_alert(alert: AlertDescription) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.alert() == alert)
    }
}

/// Which end of a connection refused the other's certificate, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedBy {
    Us(CertificateRefusal),
    Peer(CertificateRefusal),
}

impl RefusedBy {
    /// Whether an error of a TLS stream is such a refusal.
    pub(crate) fn from_io(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::AlertReceived(alert) => CertificateRefusal::from_alert(*alert).map(Self::Peer),
            Error::NoCertificatesPresented => Some(Self::Us(CertificateRefusal::Missing)),
            Error::InvalidCertificate(error) => {
                let alert = AlertDescription::from(error.clone());
                CertificateRefusal::from_alert(alert).map(Self::Us)
            }
            _ => None,
        }
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Us(refusal) => write!(f, "we refuse the peer's certificate: {refusal}"),
            Self::Peer(refusal) => write!(f, "the peer refuses our certificate: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_an_id_and_an_alert_of_its_own_and_is_read_again_at_both_ends() {
        let ids: BTreeSet<_> = CertificateRefusal::ALL.iter().map(|refusal| refusal.id()).collect();
        let alerts: BTreeSet<u8> =
            CertificateRefusal::ALL.iter().map(|refusal| refusal.alert().into()).collect();
        assert_eq!(ids.len(), CertificateRefusal::ALL.len());
        assert_eq!(alerts.len(), CertificateRefusal::ALL.len());
        for refusal in CertificateRefusal::ALL.iter().copied() {
            let ours = io::Error::other(refusal.into_tls());
            assert_eq!(RefusedBy::from_io(&ours), Some(RefusedBy::Us(refusal)));
            let told = io::Error::other(Error::AlertReceived(refusal.alert()));
            assert_eq!(RefusedBy::from_io(&told), Some(RefusedBy::Peer(refusal)));
        }
    }

    #[test]
    fn other_errors_are_no_refusals() {
        let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(RefusedBy::from_io(&io::Error::other(alert)), None);
        assert_eq!(RefusedBy::from_io(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
